/* Any bytes as a head: what is recognised is so by simpler rules too, and nothing that comes
 * later changes a decision. */
#include "request_head.h"
#include "routes.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static void require(int holds)
{
    if (!holds)
        abort();
}

static int is_inside(fr_slice slice, const char *data, size_t size)
{
    if (slice.size == 0)
        return 1;
    return slice.data >= data && slice.size <= size && slice.data <= data + size - slice.size &&
           slice.data[0] != ' ' && slice.data[slice.size - 1] != ' ';
}

/* The line without its CRLF, *rest moved behind it. No other line ending is known here. */
static fr_slice next_line(fr_slice *rest)
{
    const char *lf = memchr(rest->data, '\n', rest->size);
    require(lf != NULL && lf > rest->data && lf[-1] == '\r');
    fr_slice line = {rest->data, (size_t)(lf - 1 - rest->data)};
    *rest = (fr_slice){lf + 1, rest->size - line.size - 2};
    for (size_t i = 0; i < line.size; i++)
        require(line.data[i] >= ' ' && line.data[i] <= '~');
    return line;
}

static int is_named(fr_slice line, const char *name)
{
    size_t size = strlen(name);
    return line.size >= size && strncasecmp(line.data, name, size) == 0;
}

static void check_request_line(fr_slice line, const fr_request_head *head)
{
    const char *method = head->method == FR_GET ? "GET " : "HEAD ", *version = " HTTP/1.1";
    size_t before = strlen(method), after = strlen(version);

    require(head->target.size <= 900 && line.size == before + head->target.size + after);
    require(memcmp(line.data, method, before) == 0 && head->target.data == line.data + before);
    require(memcmp(line.data + line.size - after, version, after) == 0);
    require(head->target.data[0] == '/');
    require(memchr(head->target.data, ' ', head->target.size) == NULL);
    require(memchr(head->target.data, '%', head->target.size) == NULL);
}

static void check_lines(const char *data, size_t used, const fr_request_head *head)
{
    static const char *const refused[] = {"content-", "transfer-encoding:", "expect:", "upgrade:",
                                          "te:", "trailer:", "if-m", "if-r", "proxy", "if-u"};
    fr_slice rest = {data, used}, line;
    int hosts = 0, ranges = 0;

    check_request_line(next_line(&rest), head);
    for (line = next_line(&rest); line.size > 0; line = next_line(&rest)) {
        const char *colon = memchr(line.data, ':', line.size);
        require(colon != NULL && colon > line.data && colon[-1] != ' ' && line.data[0] != ' ');
        require(memchr(line.data, '_', (size_t)(colon - line.data)) == NULL);
        hosts += is_named(line, "host:");
        ranges += is_named(line, "range:");
        for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
            require(!is_named(line, refused[i]));
    }
    require(rest.size == 0 && hosts == 1 && ranges == head->has_range);
}

static void check_recognised(const char *data, size_t size, const fr_request_head *head,
                             size_t used)
{
    require(used <= size && used <= FR_MAX_HEAD && used >= 4);
    require(is_inside(head->target, data, used) && is_inside(head->authorization, data, used));
    require(is_inside(head->if_none_match, data, used) && is_inside(head->referer, data, used));
    require(is_inside(head->user_agent, data, used));
    require(!head->has_range || head->range_first <= head->range_last);
    check_lines(data, used, head);
    fr_route_find(head->target);
}

/* Parts of a long input are tried in steps: it is the time of all parts that limits a run. */
static void check_parts(const char *data, size_t size, fr_head_result result, size_t used)
{
    fr_head_result before = FR_HEAD_PARTIAL;

    for (size_t cut = 0; cut <= size; cut += 1 + size / 64) {
        fr_request_head head;
        size_t used_of_part;
        fr_head_result part = fr_request_head_parse(data, cut, &head, &used_of_part);
        require(part == before || before == FR_HEAD_PARTIAL);
        require(part == result || part == FR_HEAD_PARTIAL);
        require((part == FR_HEAD_RECOGNISED) == (result == FR_HEAD_RECOGNISED && cut >= used));
        require(part != FR_HEAD_RECOGNISED || used_of_part == used);
        before = part;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    const char *data = (const char *)input;
    fr_request_head head;
    size_t used;

    fr_head_result result = fr_request_head_parse(data, size, &head, &used);
    if (result == FR_HEAD_RECOGNISED)
        check_recognised(data, size, &head, used);
    check_parts(data, size, result, used);
    fr_route_find((fr_slice){data, size});
    return 0;
}
