// A few check macros and a closing line: all the test framework that the C++ tests need.
#pragma once

#include <atomic>
#include <cmath>
#include <cstdio>

namespace epsball::test {

// Atomic, because some tests check from several threads.
inline std::atomic<int> passed{0};
inline std::atomic<int> failed{0};

inline bool record(bool ok, const char* file, int line, const char* what) {
  if (ok) {
    ++passed;
  } else {
    ++failed;
    std::printf("%s:%d: failed: %s\n", file, line, what);
  }
  return ok;
}

// NaN is never near.
inline bool near(double a, double b, double tolerance) { return std::fabs(a - b) <= tolerance; }

// The last statement of main: prints the closing line and gives the exit code. A program that checked nothing fails.
inline int finish() {
  std::printf("%d passed, %d failed\n", passed.load(), failed.load());
  return failed == 0 && passed > 0 ? 0 : 1;
}

}  // namespace epsball::test

// Each counts one check, goes on after a failure and is true where the check passed.
#define CHECK(...) ::epsball::test::record(static_cast<bool>(__VA_ARGS__), __FILE__, __LINE__, #__VA_ARGS__)

#define CHECK_NEAR(a, b, tolerance)                                                                 \
  [&](double a_, double b_) {                                                                       \
    bool ok_ = ::epsball::test::near(a_, b_, tolerance);                                            \
    if (!ok_) std::printf("%s = %.9g, %s = %.9g\n", #a, a_, #b, b_);                                \
    return ::epsball::test::record(ok_, __FILE__, __LINE__, #a " is within " #tolerance " of " #b); \
  }(a, b)

#define CHECK_THROWS(expression, Exception)                                                       \
  [&] {                                                                                           \
    try {                                                                                         \
      static_cast<void>(expression);                                                              \
    } catch (const Exception&) {                                                                  \
      return ::epsball::test::record(true, __FILE__, __LINE__, "");                               \
    } catch (...) {                                                                               \
    }                                                                                             \
    return ::epsball::test::record(false, __FILE__, __LINE__, #expression " throws " #Exception); \
  }()
