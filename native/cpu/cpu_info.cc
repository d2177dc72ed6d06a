#include "cpu_info.h"

#include <algorithm>
#include <cstdio>
#include <set>
#include <thread>
#include <utility>

#if defined(_MSC_VER)
#include <intrin.h>
#endif

#if defined(_WIN32)
#define NOMINMAX
#include <windows.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#else
#include <sched.h>
#endif

namespace openelm {

#if defined(_WIN32)

static int count_physical_cores() {
  DWORD bytes = 0;
  GetLogicalProcessorInformationEx(RelationProcessorCore, nullptr, &bytes);
  std::vector<char> buffer(bytes);
  auto* first = reinterpret_cast<SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX*>(buffer.data());
  if (!GetLogicalProcessorInformationEx(RelationProcessorCore, first, &bytes)) return 0;
  int cores = 0;
  for (DWORD at = 0; at < bytes; ++cores) {
    at += reinterpret_cast<SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX*>(buffer.data() + at)->Size;
  }
  return cores;
}

#elif defined(__APPLE__)

// The performance cores: a join waits for the slowest thread, and an efficiency core is that.
static int count_physical_cores() {
  int cores = 0;
  size_t size = sizeof cores;
  if (sysctlbyname("hw.perflevel0.physicalcpu", &cores, &size, nullptr, 0) == 0) return cores;
  if (sysctlbyname("hw.physicalcpu", &cores, &size, nullptr, 0) == 0) return cores;
  return 0;
}

#else

static int read_number(int cpu, const char* file) {
  const std::string path =
      "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/" + file;
  int number = -1;
  if (std::FILE* stream = std::fopen(path.c_str(), "r")) {
    if (std::fscanf(stream, "%d", &number) != 1) number = -1;
    std::fclose(stream);
  }
  return number;
}

// Distinct cores among the processors that this process may run on.
static int count_physical_cores() {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 0;
  std::set<std::pair<int, int> > cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    const int core = read_number(cpu, "core_id");
    if (core < 0) return CPU_COUNT(&allowed);
    cores.emplace(read_number(cpu, "physical_package_id"), core);
  }
  return int(cores.size());
}

#endif

#if defined(__x86_64__) && !defined(_MSC_VER)

static void detect_features(CpuInfo& info) {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2");
  const bool fma = __builtin_cpu_supports("fma");
  const bool f16c = __builtin_cpu_supports("f16c");
  if (avx2) info.features.push_back("avx2");
  if (fma) info.features.push_back("fma");
  if (f16c) info.features.push_back("f16c");
  info.has_avx2 = avx2 && fma && f16c;
  info.has_avx512 = info.has_avx2 && __builtin_cpu_supports("avx512f");
  if (info.has_avx512) info.features.push_back("avx512f");
}

#elif defined(_M_X64)

static void detect_features(CpuInfo& info) {
  int leaf1[4], leaf7[4];
  __cpuid(leaf1, 1);
  __cpuidex(leaf7, 7, 0);
  const bool saved = (leaf1[2] >> 27 & 1) && (_xgetbv(0) & 6) == 6;  // OSXSAVE, XMM and YMM
  const bool avx2 = saved && (leaf7[1] >> 5 & 1);
  const bool fma = saved && (leaf1[2] >> 12 & 1);
  const bool f16c = saved && (leaf1[2] >> 29 & 1);
  if (avx2) info.features.push_back("avx2");
  if (fma) info.features.push_back("fma");
  if (f16c) info.features.push_back("f16c");
  info.has_avx2 = avx2 && fma && f16c;
  const bool saves_zmm = saved && (_xgetbv(0) & 0xe0) == 0xe0;  // the masks and all of ZMM
  info.has_avx512 = info.has_avx2 && saves_zmm && (leaf7[1] >> 16 & 1);
  if (info.has_avx512) info.features.push_back("avx512f");
}

#elif defined(__aarch64__) || defined(_M_ARM64)

static void detect_features(CpuInfo& info) { info.features.push_back("neon"); }

#else

static void detect_features(CpuInfo&) {}

#endif

const CpuInfo& cpu_info() {
  static const CpuInfo kInfo = [] {
    CpuInfo info;
    detect_features(info);
    const int logical = std::max(1, int(std::thread::hardware_concurrency()));
    const int physical = count_physical_cores();
    info.physical_cores = physical > 0 ? std::min(physical, logical) : logical;
    return info;
  }();
  return kInfo;
}

}  // namespace openelm
