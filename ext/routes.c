#include "routes.h"

#include <string.h>

/* Cut the last segment and its slash off the path. */
static fr_slice cut_segment(fr_slice *path)
{
    size_t at = path->size;

    while (at > 0 && path->data[at - 1] != '/')
        at--;
    fr_slice segment = {path->data + at, path->size - at};
    path->size = at > 0 ? at - 1 : 0;
    return segment;
}

static int equals(fr_slice slice, const char *text)
{
    return slice.size == strlen(text) && memcmp(slice.data, text, slice.size) == 0;
}

/* Whether something stands behind a `/v2/`. */
static int has_repository(fr_slice path)
{
    for (size_t at = 0; at + 4 < path.size; at++)
        if (memcmp(path.data + at, "/v2/", 4) == 0)
            return 1;
    return 0;
}

static int is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* Of the form `algorithm:hex`. */
static int is_digest(fr_slice text)
{
    size_t at = text.size;

    while (at > 0 && is_hex(text.data[at - 1]))
        at--;
    return at < text.size && at > 1 && memchr(text.data, ':', at) == text.data + at - 1;
}

fr_route fr_route_find(fr_slice target)
{
    const char *query = memchr(target.data, '?', target.size);
    fr_slice path = {target.data, query ? (size_t)(query - target.data) : target.size};
    fr_slice last = cut_segment(&path), kind = cut_segment(&path);

    if (last.size == 0)
        return equals(kind, "v2") ? FR_ROUTE_VERSION : FR_ROUTE_NONE;
    if (!has_repository(path))
        return FR_ROUTE_NONE;
    if (equals(kind, "manifests"))
        return FR_ROUTE_MANIFEST;
    return equals(kind, "blobs") && is_digest(last) ? FR_ROUTE_BLOB : FR_ROUTE_NONE;
}
