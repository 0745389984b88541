/* As long as what an answer is given again, under sanitizers. Linked with statx wrapped. */
#define _GNU_SOURCE
#include "published_given.h"

#include <sys/mman.h>
#include <sys/wait.h>

static unsigned asked_anew; /* of the file system, not of what is remembered of it */

int __real_statx(int dir, const char *path, int flags, unsigned mask, struct statx *status);
int __wrap_statx(int dir, const char *path, int flags, unsigned mask, struct statx *status);

int __wrap_statx(int dir, const char *path, int flags, unsigned mask, struct statx *status)
{
    asked_anew += (flags & AT_STATX_FORCE_SYNC) != 0;
    return __real_statx(dir, path, flags, mask, status);
}

static int holds(fr_witness witness, fr_witness second)
{
    fr_table t = given_table(8, 1 << 20, 8);
    fr_witness both[] = {witness, second};
    fr_draft draft = draft_of("a", HEAD, "body");
    int found;

    draft.witnesses = both;
    draft.witness_count = COUNT(both);
    CHECK(fr_table_publish(&t, &draft) == 0);
    found = find(&t, "a") != NULL;
    CHECK(t.answers == (size_t)found); /* what does not hold is dropped */
    fr_table_free(&t);
    return found;
}

static void test_each_part_of_a_witness_must_hold(void)
{
    close(make_file("one", 5));
    close(make_file("two", 7));
    fr_witness one = witness_of("one"), two = witness_of("two");
    CHECK(holds(one, two) && holds(two, one));
    for (int part = 0; part < 6; part++) {
        fr_witness other = two;
        if (part == 0)
            other.device ^= 1;
        else if (part == 1)
            other.inode ^= 1;
        else if (part == 2)
            other.mtime_ns++;
        else if (part == 3)
            other.ctime_ns--;
        else if (part == 4)
            other.size++;
        else
            other.path = "missing";
        CHECK(!holds(one, other) && !holds(other, one));
    }
    two.path = ""; /* no file, and no directory */
    CHECK(!holds(one, two));
    one.path = "one/below";
    CHECK(!holds(one, one));
}

static void test_a_replaced_file_is_seen_by_the_next_find(void)
{
    fr_table t = given_table(8, 1 << 20, 8);
    fr_draft draft = draft_of("a", HEAD, "body");
    fr_witness witness;

    close(make_file("link", 5));
    witness = witness_of("link");
    draft.witnesses = &witness;
    draft.witness_count = 1;
    CHECK(fr_table_publish(&t, &draft) == 0 && find(&t, "a") != NULL);
    close(make_file("link.new", 5));
    CHECK(rename("link.new", "link") == 0);
    CHECK(find(&t, "a") == NULL && t.answers == 0);
    witness = witness_of("link");
    CHECK(fr_table_publish(&t, &draft) == 0 && find(&t, "a") != NULL);
    CHECK(unlink("link") == 0 && find(&t, "a") == NULL);
    fr_table_free(&t);
}

static void test_a_counter_that_moves_on_ends_the_answer(void)
{
    uint64_t counters[] = {0, UINT64_MAX};
    fr_witness first = {.counter = &counters[0], .value = 0};
    fr_witness second = {.counter = &counters[1], .value = UINT64_MAX};
    fr_witness file;

    close(make_file("one", 5));
    file = witness_of("one");
    CHECK(holds(first, second) && holds(first, file) && holds(file, second));
    counters[1]--;
    CHECK(holds(first, file) && !holds(first, second) && !holds(second, file));
    counters[1]++;
    counters[0] = UINT64_C(1) << 63;
    CHECK(!holds(first, file) && !holds(file, first) && holds(file, second));
    first.value = counters[0];
    CHECK(holds(first, second));
}

/* Another process writes what this one maps. */
static void test_a_counter_that_another_process_moves_is_seen_by_the_next_find(void)
{
    uint64_t *counter = mmap(NULL, sizeof *counter, PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    fr_witness witness = {.counter = counter};
    fr_table t = given_table(8, 1 << 20, 8);
    fr_draft draft = draft_of("a", HEAD, "body");
    pid_t child;

    CHECK(counter != MAP_FAILED);
    draft.witnesses = &witness;
    draft.witness_count = 1;
    CHECK(fr_table_publish(&t, &draft) == 0 && find(&t, "a") != NULL);
    child = fork();
    if (child == 0) {
        *counter = 7;
        _exit(0);
    }
    CHECK(child > 0 && waitpid(child, NULL, 0) == child);
    CHECK(find(&t, "a") == NULL && t.answers == 0);
    fr_table_free(&t);
    munmap(counter, sizeof *counter);
}

static void test_one_request_passes_by_an_answer_that_is_to_be_renewed(void)
{
    fr_table t = given_table(8, 1 << 20, 8);
    fr_draft draft = draft_of("a", HEAD, "body");

    draft.renew = NOW + 3;
    draft.until = NOW + 5;
    CHECK(fr_table_publish(&t, &draft) == 0);
    CHECK(fr_table_find(&t, "a", 1, NOW + 2) != NULL);
    CHECK(fr_table_find(&t, "a", 1, NOW + 3) == NULL && t.answers == 1);
    CHECK(fr_table_find(&t, "a", 1, NOW + 3) != NULL && fr_table_find(&t, "a", 1, NOW + 4) != NULL);
    draft.renew = NOW + 6;
    draft.until = NOW + 8;
    CHECK(fr_table_publish(&t, &draft) == 0 && fr_table_find(&t, "a", 1, NOW + 5) != NULL);
    CHECK(fr_table_find(&t, "a", 1, NOW + 7) == NULL && t.answers == 1);
    CHECK(fr_table_find(&t, "a", 1, NOW + 8) == NULL && t.answers == 0);
    fr_table_free(&t);
}

static void test_an_answer_ends_at_its_until(void)
{
    fr_table t = given_table(8, 1 << 20, 8);
    fr_draft draft = draft_of("a", HEAD, "body");

    draft.until = NOW + 5;
    CHECK(fr_table_publish(&t, &draft) == 0);
    CHECK(fr_table_find(&t, "a", 1, NOW + 4) != NULL);
    CHECK(fr_table_find(&t, "a", 1, NOW + 5) == NULL && t.answers == 0);
    fr_table_free(&t);
}

/* NFS answers from memory for a minute, in which another machine may have moved a tag. */
static void test_each_find_asks_the_file_system_anew(void)
{
    fr_table t = given_table(8, 1 << 20, 8);
    fr_draft draft = draft_of("key", HEAD, "body");
    fr_witness witness;

    close(make_file("w", 3));
    witness = witness_of("w");
    draft.witnesses = &witness;
    draft.witness_count = 1;
    CHECK(fr_table_publish(&t, &draft) == 0);
    asked_anew = 0;
    for (unsigned times = 1; times <= 3; times++)
        CHECK(find(&t, "key") != NULL && asked_anew == times);
    fr_table_free(&t);
}

int main(void)
{
    test_each_part_of_a_witness_must_hold();
    test_a_replaced_file_is_seen_by_the_next_find();
    test_each_find_asks_the_file_system_anew();
    test_a_counter_that_moves_on_ends_the_answer();
    test_a_counter_that_another_process_moves_is_seen_by_the_next_find();
    test_one_request_passes_by_an_answer_that_is_to_be_renewed();
    test_an_answer_ends_at_its_until();
    puts("ok");
    return 0;
}
