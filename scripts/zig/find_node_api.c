#include <string.h>
#include <windows.h>

// What node-api-windows.mjs writes: the names of the functions of Node-API, one behind the other and
// an empty one at the end, and where the functions are, in the same order.
extern const char node_api_names[];
extern FARPROC node_api_functions[];

// Programs export Node-API themselves, whatever they are called, or have Node in a library. A function
// that an old Node lacks stays null, and is never called: the addon says what version it needs.
__attribute__((constructor)) static void find_node_api(void) {
  HMODULE node = GetModuleHandleW(L"libnode.dll");
  if (!node) node = GetModuleHandleW(NULL);
  FARPROC* function = node_api_functions;
  for (const char* name = node_api_names; *name; name += strlen(name) + 1) {
    *function++ = GetProcAddress(node, name);
  }
}
