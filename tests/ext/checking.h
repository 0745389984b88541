/* What the C tests share: checks, and files to make answers of in the current directory. */
#ifndef FASTREG_CHECKING_H
#define FASTREG_CHECKING_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "published.h"

#define CHECK(what) check((what), #what, __FILE__, __LINE__)
#define COUNT(array) (sizeof(array) / sizeof *(array))
#define DATE "Thu, 01 Jan 1970 00:00:00 GMT"
#define HEX_64 "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

static inline void check(int holds, const char *what, const char *file, int line)
{
    if (!holds) {
        fprintf(stderr, "%s:%d: %s does not hold\n", file, line, what);
        abort();
    }
}

/* The byte of every test file at an offset. */
static inline char byte_at(size_t at)
{
    return (char)('A' + at * 7 % 61);
}

static inline void fill(char *data, size_t size, size_t from)
{
    for (size_t i = 0; i < size; i++)
        data[i] = byte_at(from + i);
}

/* A new file of that size in the place of any other; returns its descriptor. */
static inline int make_file(const char *path, size_t size)
{
    char *data = malloc(size + 1);
    int fd;

    CHECK(data != NULL);
    fill(data, size, 0);
    unlink(path);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    free(data);
    return fd;
}

static inline fr_witness witness_of(const char *path)
{
    struct stat s;

    CHECK(stat(path, &s) == 0);
    return (fr_witness){
        .path = path,
        .device = (uint64_t)s.st_dev,
        .inode = (uint64_t)s.st_ino,
        .mtime_ns = (int64_t)s.st_mtim.tv_sec * 1000000000 + s.st_mtim.tv_nsec,
        .ctime_ns = (int64_t)s.st_ctim.tv_sec * 1000000000 + s.st_ctim.tv_nsec,
        .size = (int64_t)s.st_size,
    };
}

/* An answer made of text alone. */
static inline fr_draft draft_of(const char *key, const char *head, const char *body)
{
    return (fr_draft){
        .key = key,
        .key_size = strlen(key),
        .head = head,
        .head_size = strlen(head),
        .body = body,
        .body_size = body != NULL ? strlen(body) : 0,
        .fd = -1,
        .until = INT64_MAX,
        .renew = INT64_MAX,
    };
}

/* An answer whose body is a part of a file. */
static inline fr_draft draft_of_file(const char *key, const char *head, int fd, uint64_t offset,
                                     uint64_t size)
{
    fr_draft draft = draft_of(key, head, NULL);

    draft.fd = fd;
    draft.file_offset = offset;
    draft.body_size = size;
    return draft;
}

static inline int is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

#endif
