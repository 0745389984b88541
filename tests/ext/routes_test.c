/* The routes under sanitizers: a target is a copy of exactly its bytes. */
#include "routes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define D "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

static const struct {
    const char *target;
    fr_route route;
} SAMPLES[] = {
    {"/v2/", FR_ROUTE_VERSION},
    {"/v2/?ns=docker.io", FR_ROUTE_VERSION},
    {"/some/prefix/v2/", FR_ROUTE_VERSION},
    {"/v2/a/manifests/latest", FR_ROUTE_MANIFEST},
    {"/v2/a/b/c/manifests/" D, FR_ROUTE_MANIFEST},
    {"/v2/a/manifests/1?ns=docker.io", FR_ROUTE_MANIFEST},
    {"/prefix/v2/a/manifests/1", FR_ROUTE_MANIFEST},
    {"/v2/v2/manifests/1", FR_ROUTE_MANIFEST},
    {"/v2/manifests/manifests/manifests", FR_ROUTE_MANIFEST},
    {"/v2/a/blobs/" D, FR_ROUTE_BLOB},
    {"/prefix/v2/a/b/blobs/" D "?ns=x", FR_ROUTE_BLOB},
    {"", FR_ROUTE_NONE},
    {"/", FR_ROUTE_NONE},
    {"v2/a/manifests/1", FR_ROUTE_NONE},
    {"/v2", FR_ROUTE_NONE},
    {"/v1/", FR_ROUTE_NONE},
    {"/xv2/", FR_ROUTE_NONE},
    {"/v2/a/", FR_ROUTE_NONE},
    {"/v2/_catalog", FR_ROUTE_NONE},
    {"/v2/manifests/1", FR_ROUTE_NONE},
    {"/v2//manifests/1", FR_ROUTE_NONE},
    {"/a/manifests/1", FR_ROUTE_NONE},
    {"/v2/a/manifests/", FR_ROUTE_NONE},
    {"/v2/a/manifests", FR_ROUTE_NONE},
    {"/v2/a/xmanifests/1", FR_ROUTE_NONE},
    {"/v2/a/manifests/1/", FR_ROUTE_NONE},
    {"/v2/a?b/manifests/1", FR_ROUTE_NONE},
    {"/v2/a/tags/list", FR_ROUTE_NONE},
    {"/v2/a/referrers/" D, FR_ROUTE_NONE},
    {"/v2/a/blobs/uploads", FR_ROUTE_NONE},
    {"/v2/a/blobs/uploads/", FR_ROUTE_NONE},
    {"/v2/a/blobs/uploads/" D, FR_ROUTE_NONE},
    {"/v2/a/blobs/latest", FR_ROUTE_NONE},
    {"/v2/blobs/" D, FR_ROUTE_NONE},
};

static fr_route route_of_copy(const char *target)
{
    size_t size = strlen(target);
    char *copy = malloc(size ? size : 1);

    memcpy(copy, target, size);
    fr_route route = fr_route_find((fr_slice){copy, size});
    free(copy);
    return route;
}

int main(void)
{
    for (size_t i = 0; i < sizeof SAMPLES / sizeof *SAMPLES; i++)
        if (route_of_copy(SAMPLES[i].target) != SAMPLES[i].route) {
            fprintf(stderr, "%s is not route %d\n", SAMPLES[i].target, (int)SAMPLES[i].route);
            return 1;
        }
    puts("ok");
    return 0;
}
