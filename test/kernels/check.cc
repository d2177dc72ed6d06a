#include "check.h"

#include <cstdio>
#include <stdexcept>

namespace openelm {

static int failed = 0;
static std::string notes;

int failures() { return failed; }

void test(const std::string& name, const std::function<void()>& body) {
  notes.clear();
  try {
    body();
    std::printf("ok %s%s\n", name.c_str(), notes.c_str());
  } catch (const std::exception& error) {
    ++failed;
    std::printf("not ok %s: %s\n", name.c_str(), error.what());
  }
  std::fflush(stdout);
}

void note(const std::string& text) { notes += " # " + text; }

void check(bool holds, std::string_view what) {
  if (!holds) throw std::runtime_error(std::string(what));
}

void check_at_most(double value, double limit, std::string_view what) {
  if (value <= limit) return;
  throw std::runtime_error(std::string(what) + ": " + short_number(value) + " is more than " +
                           short_number(limit));
}

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1e", value);
  return text;
}

}  // namespace openelm
