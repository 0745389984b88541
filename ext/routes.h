/* What a target asks for, as far as it is worth looking up among published answers. */
#ifndef FASTREG_ROUTES_H
#define FASTREG_ROUTES_H

#include "request_head.h"

typedef enum { FR_ROUTE_NONE, FR_ROUTE_VERSION, FR_ROUTE_MANIFEST, FR_ROUTE_BLOB } fr_route;

/*
 * Return what a recognised target asks for: `<prefix>/v2/`, `…/manifests/<reference>` or
 * `…/blobs/<algorithm>:<hex>`, where the prefix is whatever stands before `/v2/`; NONE for all
 * else. fastreg/api/routes.py decides; this is a filter before it, and says nothing about
 * whether the repository's name or the digest is valid.
 */
fr_route fr_route_find(fr_slice target);

#endif
