// What the C++ library of a system with glibc wants and musl lacks, so that musl's loader can load
// it: as the library ld-linux-x86-64.so.2, which it names, beside it. There is no C++ library for
// musl in Debian, and Node and Bun for musl want one. The addon has its own inside, and none of
// this.
#include <stddef.h>

// Prototypes of its own, since the headers here are glibc's.
int getentropy(void*, size_t);
void* malloc(size_t);
void free(void*);
void* memcpy(void*, const void*, size_t);
void* memmove(void*, const void*, size_t);
int pthread_key_create(unsigned*, void (*)(void*));
void* pthread_getspecific(unsigned);
int pthread_setspecific(unsigned, const void*);
size_t strftime_l(char*, size_t, const char*, const void*, void*);

char __libc_single_threaded = 0;

// Only functions that no caller reaches by these versions ask for them.
unsigned __cpu_model[4];
int __cpu_indicator_init(void) { return 0; }

unsigned arc4random(void) {
  unsigned result;
  getentropy(&result, sizeof result);
  return result;
}

size_t __strftime_l(char* text, size_t size, const char* format, const void* time, void* locale) {
  return strftime_l(text, size, format, time, locale);
}

// Objects that end with their thread, the last first.

struct ending {
  void (*run)(void*);
  void* object;
  struct ending* earlier;
};
static unsigned endings;

static void end(void* last) {
  for (struct ending* ending = last; ending;) {
    struct ending* earlier = ending->earlier;
    ending->run(ending->object);
    free(ending);
    ending = earlier;
  }
}

__attribute__((constructor)) static void create_key(void) { pthread_key_create(&endings, end); }

int __cxa_thread_atexit_impl(void (*run)(void*), void* object, void* library) {
  (void)library;
  struct ending* ending = malloc(sizeof *ending);
  *ending = (struct ending){run, object, pthread_getspecific(endings)};
  return pthread_setspecific(endings, ending);
}

// Which library an address is of, and where that keeps what an exception unwinds by.

struct program_header {
  unsigned type, flags;
  size_t offset, address, physical_address, file_size, size, alignment;
};
struct library {
  size_t address;
  const char* name;
  const struct program_header* headers;
  unsigned short num_headers;
};
int dl_iterate_phdr(int (*)(struct library*, size_t, void*), void*);

struct found {
  unsigned long long flags;
  size_t begin, end;
  void* link_map;
  size_t eh_frame;
  unsigned long long reserved[7];
};
struct search {
  size_t address;
  struct found* found;
};

static int find_in(struct library* library, size_t size, void* data) {
  enum { pt_load = 1, pt_gnu_eh_frame = 0x6474e550 };
  (void)size;
  const struct search* search = data;
  int is_inside = 0;
  size_t eh_frame = 0;
  for (unsigned i = 0; i < library->num_headers; ++i) {
    const struct program_header* header = &library->headers[i];
    const size_t begin = library->address + header->address;
    if (header->type == pt_gnu_eh_frame) eh_frame = begin;
    if (header->type != pt_load || search->address - begin >= header->size) continue;
    is_inside = 1;
    search->found->begin = begin;
    search->found->end = begin + header->size;
  }
  if (!is_inside || !eh_frame) return 0;
  search->found->flags = 0;
  search->found->link_map = NULL;
  search->found->eh_frame = eh_frame;
  return 1;
}

int _dl_find_object(void* address, struct found* found) {
  struct search search = {(size_t)address, found};
  return dl_iterate_phdr(find_in, &search) ? 0 : -1;
}

// std::string::_M_replace_cold of GCC 13: replaces `old_size` characters at `at`, before `rest`
// others, by `text`, which may be a part of the same string.
void _ZNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEE15_M_replace_coldEPcmPKcmm(
    void* string, char* at, size_t old_size, const char* text, size_t size, size_t rest) {
  (void)string;
  char* copy = malloc(size);
  memcpy(copy, text, size);
  memmove(at + size, at + old_size, rest);
  memcpy(at, copy, size);
  free(copy);
}
