#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace openelm {

// Runs one case, which fails by throwing, and prints "ok <name>" or "not ok <name>: <why>";
// test/kernels.test.ts reads those lines.
void test(const std::string& name, const std::function<void()>& body);

// Printed behind the name of the case under way, after " # ".
void note(const std::string& text);

void check(bool holds, std::string_view what);

// Also fails when the value is NaN.
void check_at_most(double value, double limit, std::string_view what);

// Cases that failed so far.
int failures();

// For messages: "1.2e-05".
std::string short_number(double value);

}  // namespace openelm
