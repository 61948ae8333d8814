// IEEE half precision by its bits; compilers still differ in what they offer.
#pragma once

#include <cstdint>

#include "formulas.h"

namespace epsball::EPSBALL_ISA {

EPSBALL_HD float half_to_float(std::uint16_t h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000) << 16;
  const std::uint32_t magnitude = h & 0x7fff;
  // Shifting the exponent into place and multiplying by 2^112 rebiases normal and denormal numbers alike.
  float f = float_of_bits(static_cast<std::int32_t>(magnitude << 13)) * 5.19229686e33f;
  if (magnitude >= 0x7c00) f = float_of_bits(static_cast<std::int32_t>(0x7f800000 | magnitude << 13));
  return float_of_bits(bits_of(f) | static_cast<std::int32_t>(sign));
}

// The half nearest to zero from x, for |x| <= 65504: what is cut off is dropped.
EPSBALL_HD std::uint16_t float_to_half_down(float x) {
  const std::uint32_t b = static_cast<std::uint32_t>(bits_of(x));
  const float rebiased = float_of_bits(static_cast<std::int32_t>(b & 0x7fffe000)) * 1.92592994e-34f;
  const std::uint32_t magnitude = static_cast<std::uint32_t>(bits_of(rebiased)) >> 13;
  return static_cast<std::uint16_t>((b >> 16 & 0x8000) | (magnitude > 0x7bff ? 0x7bff : magnitude));
}

// The half nearest to x, ties to even; infinite from 65520 on.
EPSBALL_HD std::uint16_t float_to_half(float x) {
  const auto sign = static_cast<std::uint16_t>(static_cast<std::uint32_t>(bits_of(x)) >> 16 & 0x8000);
  const float size = abs(x);
  if (!(size < 65520.0f)) return static_cast<std::uint16_t>(sign | (size == size ? 0x7c00 : 0x7e00));
  const std::uint16_t down = float_to_half_down(size);
  const float under = size - half_to_float(down), over = half_to_float(static_cast<std::uint16_t>(down + 1)) - size;
  const bool up = under > over || (under == over && down & 1);
  return static_cast<std::uint16_t>(sign | (down + up));
}

}  // namespace epsball::EPSBALL_ISA
