#include "cpu_info.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <set>
#include <thread>
#include <utility>

#if defined(_M_X64)
#include <intrin.h>
#elif defined(__x86_64__)
#include <cpuid.h>
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

#if defined(__x86_64__) || defined(_M_X64)

struct CpuidLeaf {
  uint32_t a, b, c, d;
};

static CpuidLeaf cpuid(uint32_t leaf, uint32_t subleaf) {
  CpuidLeaf result = {};
#if defined(_MSC_VER)
  int registers[4];
  __cpuidex(registers, int(leaf), int(subleaf));
  result = {uint32_t(registers[0]), uint32_t(registers[1]), uint32_t(registers[2]),
            uint32_t(registers[3])};
#else
  __get_cpuid_count(leaf, subleaf, &result.a, &result.b, &result.c, &result.d);
#endif
  return result;
}

// Which registers the operating system saves.
static uint64_t enabled_state() {
#if defined(_MSC_VER)
  return _xgetbv(0);
#else
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t(high) << 32 | low;
#endif
}

static void detect_features(CpuInfo& info) {
  const CpuidLeaf basic = cpuid(1, 0);
  const bool has_xgetbv = basic.c >> 27 & 1;
  const uint64_t state = has_xgetbv ? enabled_state() : 0;
  const bool ymm = (state & 0x06) == 0x06;
  const bool zmm = (state & 0xe6) == 0xe6;
  const CpuidLeaf extended = cpuid(7, 0);
  const auto feature = [&](const char* name, bool present) {
    if (present) info.features.push_back(name);
    return present;
  };
  const bool avx2 = feature("avx2", ymm && (extended.b >> 5 & 1));
  const bool fma = feature("fma", ymm && (basic.c >> 12 & 1));
  const bool f16c = feature("f16c", ymm && (basic.c >> 29 & 1));
  const bool avxvnni = feature("avxvnni", ymm && (cpuid(7, 1).a >> 4 & 1));
  const bool avx512f = feature("avx512f", zmm && (extended.b >> 16 & 1));
  const bool avx512dq = feature("avx512dq", zmm && (extended.b >> 17 & 1));
  const bool avx512bw = feature("avx512bw", zmm && (extended.b >> 30 & 1));
  const bool avx512vl = feature("avx512vl", zmm && (extended.b >> 31 & 1));
  const bool avx512vnni = feature("avx512vnni", zmm && (extended.c >> 11 & 1));
  info.has_avx2 = avx2 && fma && f16c;
  info.has_avxvnni = info.has_avx2 && avxvnni;
  info.has_avx512 = info.has_avx2 && avx512f && avx512dq && avx512bw && avx512vl && avx512vnni;
}

#elif defined(__aarch64__) || defined(_M_ARM64)

static void detect_features(CpuInfo& info) { info.features.push_back("neon"); }

#else

static void detect_features(CpuInfo&) {}

#endif

const CpuInfo& cpu_info() {
  // Never destroyed: threads may still run when the process ends.
  static const CpuInfo& kInfo = *new CpuInfo([] {
    CpuInfo info;
    detect_features(info);
    const int logical = std::max(1, int(std::thread::hardware_concurrency()));
    const int physical = count_physical_cores();
    info.physical_cores = physical > 0 ? std::min(physical, logical) : logical;
    return info;
  }());
  return kInfo;
}

}  // namespace openelm
