// A library for LD_PRELOAD that lets one call of the C library about files fail, or ends the
// program with SIGKILL there. What the kernel does to a program seldom is done to it here on
// demand.
//
//   QUAVER_FAULT=KIND:N:ACTION   the N-th call (from 1) of KIND: open, read, write, sync, rename,
//                                map, directory (mkdir), remove (unlink, rmdir), truncate, copy
//                                (copy_file_range) or any of them. ACTION: an errno by name; short:
//                                half of the bytes; kill: before the call; torn: after half of a
//                                write
//   QUAVER_FAULT_COUNT=FILE      at the end the number of calls of each kind, a line each
//
// Standard input, output and error are left alone.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace {

enum Kind {
  open_file,
  read_file,
  write_file,
  sync_file,
  rename_file,
  map,
  directory,
  remove_name,
  truncate_file,
  copy,
  kinds
};
constexpr std::array<const char*, kinds> names{"open", "read",      "write",  "sync",     "rename",
                                               "map",  "directory", "remove", "truncate", "copy"};
enum class Action { pass, error, part, kill, torn };

struct Errno {
  const char* name;
  int value;
};
constexpr Errno errors[] = {{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EINTR", EINTR},
                            {"EACCES", EACCES}, {"EMFILE", EMFILE}, {"ENOMEM", ENOMEM},
                            {"EROFS", EROFS},   {"EDQUOT", EDQUOT}};

std::array<std::atomic<long>, kinds> counts;
std::atomic<long> calls;
int wanted_kind = -2;  // kinds: any; -2: none
long wanted_call = 0;
Action wanted_action = Action::pass;
int wanted_error = 0;

__attribute__((constructor)) void read_wish() {
  const char* wish = std::getenv("QUAVER_FAULT");
  char kind[16] = {}, action[16] = {};
  if (!wish || std::sscanf(wish, "%15[^:]:%ld:%15s", kind, &wanted_call, action) != 3) return;
  for (int k = 0; k < kinds; ++k)
    if (std::string_view(kind) == names[static_cast<std::size_t>(k)]) wanted_kind = k;
  if (std::string_view(kind) == "any") wanted_kind = kinds;
  const std::string_view word(action);
  if (word == "short") wanted_action = Action::part;
  if (word == "kill") wanted_action = Action::kill;
  if (word == "torn") wanted_action = Action::torn;
  for (const Errno& e : errors)
    if (word == e.name) wanted_action = Action::error, wanted_error = e.value;
  if (wanted_kind == -2 || wanted_action == Action::pass) {
    std::fprintf(stderr, "QUAVER_FAULT=%s is not understood\n", wish);
    std::abort();
  }
}

__attribute__((destructor)) void write_counts() {
  const char* file = std::getenv("QUAVER_FAULT_COUNT");
  FILE* out = file ? std::fopen(file, "w") : nullptr;
  if (!out) return;
  for (std::size_t k = 0; k < kinds; ++k) std::fprintf(out, "%s %ld\n", names[k], counts[k].load());
  std::fclose(out);
}

// What shall happen to this call.
Action next(Kind kind) {
  const long of_kind = ++counts[kind], of_all = ++calls;
  const long mine = wanted_kind == kinds ? of_all : of_kind;
  if ((wanted_kind != kinds && wanted_kind != kind) || mine != wanted_call) return Action::pass;
  if (wanted_action == Action::kill) ::kill(::getpid(), SIGKILL);
  if (wanted_action == Action::error) errno = wanted_error;
  return wanted_action;
}

template <typename Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

std::size_t half(std::size_t count) { return count > 1 ? count / 2 : count; }

bool is_standard(int descriptor) { return descriptor >= 0 && descriptor <= 2; }

template <typename Call>
int failing(Kind kind, Call call) {
  return next(kind) == Action::error ? -1 : call();
}

template <typename Call>
ssize_t in_part(Kind kind, std::size_t count, Call call) {
  const Action action = next(kind);
  if (action == Action::error) return -1;
  if (action == Action::torn) {
    call(half(count));
    ::kill(::getpid(), SIGKILL);
  }
  return call(action == Action::part ? half(count) : count);
}

mode_t mode_in(int flags, va_list rest) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
}

}  // namespace

#define NAMED_MODE                          \
  va_list rest;                             \
  va_start(rest, flags);                    \
  const mode_t mode = mode_in(flags, rest); \
  va_end(rest);

extern "C" {

int open(const char* path, int flags, ...) {
  NAMED_MODE
  return failing(open_file,
                 [&] { return real<int(const char*, int, ...)>("open")(path, flags, mode); });
}
int open64(const char* path, int flags, ...) {
  NAMED_MODE
  return failing(open_file,
                 [&] { return real<int(const char*, int, ...)>("open64")(path, flags, mode); });
}
int openat(int at, const char* path, int flags, ...) {
  NAMED_MODE
  return failing(open_file, [&] {
    return real<int(int, const char*, int, ...)>("openat")(at, path, flags, mode);
  });
}
int openat64(int at, const char* path, int flags, ...) {
  NAMED_MODE
  return failing(open_file, [&] {
    return real<int(int, const char*, int, ...)>("openat64")(at, path, flags, mode);
  });
}

ssize_t read(int fd, void* to, size_t count) {
  const auto call = [&](std::size_t n) {
    return real<ssize_t(int, void*, size_t)>("read")(fd, to, n);
  };
  return is_standard(fd) ? call(count) : in_part(read_file, count, call);
}
ssize_t pread64(int fd, void* to, size_t count, off64_t at) {
  return in_part(read_file, count, [&](std::size_t n) {
    return real<ssize_t(int, void*, size_t, off64_t)>("pread64")(fd, to, n, at);
  });
}
ssize_t pread(int fd, void* to, size_t count, off_t at) { return pread64(fd, to, count, at); }

ssize_t write(int fd, const void* from, size_t count) {
  const auto call = [&](std::size_t n) {
    return real<ssize_t(int, const void*, size_t)>("write")(fd, from, n);
  };
  return is_standard(fd) ? call(count) : in_part(write_file, count, call);
}
ssize_t pwrite64(int fd, const void* from, size_t count, off64_t at) {
  return in_part(write_file, count, [&](std::size_t n) {
    return real<ssize_t(int, const void*, size_t, off64_t)>("pwrite64")(fd, from, n, at);
  });
}
ssize_t pwrite(int fd, const void* from, size_t count, off_t at) {
  return pwrite64(fd, from, count, at);
}
ssize_t copy_file_range(int in, off64_t* in_at, int out, off64_t* out_at, size_t count,
                        unsigned flags) {
  return in_part(copy, count, [&](std::size_t n) {
    return real<ssize_t(int, off64_t*, int, off64_t*, size_t, unsigned)>("copy_file_range")(
        in, in_at, out, out_at, n, flags);
  });
}

int fsync(int fd) {
  return failing(sync_file, [&] { return real<int(int)>("fsync")(fd); });
}
int fdatasync(int fd) {
  return failing(sync_file, [&] { return real<int(int)>("fdatasync")(fd); });
}
int rename(const char* from, const char* to) {
  return failing(rename_file,
                 [&] { return real<int(const char*, const char*)>("rename")(from, to); });
}
int mkdir(const char* path, mode_t mode) {
  return failing(directory, [&] { return real<int(const char*, mode_t)>("mkdir")(path, mode); });
}
int unlink(const char* path) {
  return failing(remove_name, [&] { return real<int(const char*)>("unlink")(path); });
}
int rmdir(const char* path) {
  return failing(remove_name, [&] { return real<int(const char*)>("rmdir")(path); });
}
int remove(const char* path) {
  return failing(remove_name, [&] { return real<int(const char*)>("remove")(path); });
}
int unlinkat(int at, const char* path, int flags) {
  return failing(remove_name,
                 [&] { return real<int(int, const char*, int)>("unlinkat")(at, path, flags); });
}
int ftruncate64(int fd, off64_t length) {
  return failing(truncate_file, [&] { return real<int(int, off64_t)>("ftruncate64")(fd, length); });
}
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

void* mmap64(void* place, size_t length, int protection, int flags, int fd, off64_t at) {
  if (next(map) == Action::error) return MAP_FAILED;
  return real<void*(void*, size_t, int, int, int, off64_t)>("mmap64")(place, length, protection,
                                                                      flags, fd, at);
}
void* mmap(void* place, size_t length, int protection, int flags, int fd, off_t at) {
  return mmap64(place, length, protection, flags, fd, at);
}

}  // extern "C"
