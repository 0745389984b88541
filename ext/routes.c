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
    if (equals(kind, "blobs") && memchr(last.data, ':', last.size) != NULL)
        return FR_ROUTE_BLOB;
    return FR_ROUTE_NONE;
}
