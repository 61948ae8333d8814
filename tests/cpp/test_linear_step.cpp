// A step through a narrow linear layer on every table: the bits of the two products it stands for, between guards.
#include "attacks/pgd_rows.h"
#include "check.h"
#include "dispatch.h"
#include "guarded.h"

using namespace epsball;
using namespace epsball::test;

namespace {

struct Shape {
  Index rows, in, out;
};

// What a step reads and writes; `ld` floats from row to row of x, lo, hi and best.
struct Slab {
  Shape shape;
  Index ld;
  Guarded<float> x, lo, hi, best, size, dlogits, logits;
  Guarded<std::uint8_t> moving, improved;
  Guarded<std::int32_t> slot;

  explicit Slab(Shape s)
      : shape(s),
        ld(s.in + 3),
        x(uniform_floats(s.rows * ld, 1, 0, 1)),
        lo(uniform_floats(s.rows * ld, 2, -0.2f, 0.5f)),
        hi(uniform_floats(s.rows * ld, 3, 0.5f, 1.2f)),
        best(uniform_floats(s.rows * ld, 4, 0, 1)),
        size(uniform_floats(s.rows, 5, 0, 0.1f)),
        dlogits(uniform_floats(s.rows * (s.out + 1), 6, -1, 1, 0.2f)),
        logits(s.rows * (s.out + 2)),
        moving(std::vector<std::uint8_t>(static_cast<std::size_t>(s.rows), 0)),
        improved(std::vector<std::uint8_t>(static_cast<std::size_t>(s.rows), 0)),
        slot(s.rows) {
    for (Index r = 0; r < s.rows; ++r) {
      improved[r] = r % 3 != 1;
      slot[r] = static_cast<std::int32_t>(s.rows - 1 - r);
    }
    for (Index j = 0; j <= s.out; ++j) dlogits[(s.rows - 1) * (s.out + 1) + j] = 0.0f;  // a row with no gradient
  }

  SignStep step(bool keep_best) {
    SignStep s{x.data(), lo.data(), hi.data(), ld, size.data(), moving.data(), nullptr, improved.data(), slot.data()};
    if (keep_best) s.best = best.data();
    return s;
  }
  bool same(Slab& other) {
    bool logits_same = true;  // what lies between the rows is nobody's
    for (Index r = 0; r < shape.rows; ++r)
      logits_same &= same_bits(&logits[r * (shape.out + 2)], &other.logits[r * (shape.out + 2)], shape.out);
    return logits_same && same_bits(x.copy(), other.x.copy()) && same_bits(best.copy(), other.best.copy()) &&
           same_bits(moving.copy(), other.moving.copy());
  }
  bool intact() {
    return x.intact() && lo.intact() && hi.intact() && best.intact() && dlogits.intact() && logits.intact() &&
           moving.intact() && improved.intact() && slot.intact() && size.intact();
  }
};

void two_products(const Kernels& k, Slab& s, const float* packed, const float* bias, bool keep_best) {
  const SignStep step = s.step(keep_best);
  Gemm back{s.shape.rows, s.shape.in, s.shape.out, s.dlogits.data(), s.shape.out + 1, 1, packed, 0, s.shape.in,
            nullptr,      0,          {}};
  back.epilogue.step = &step;
  k.gemm(nullptr, back);
  Gemm forward{s.shape.rows, s.shape.out,     s.shape.in,      s.x.data(), s.ld, 1, packed, 0,
               s.shape.out,  s.logits.data(), s.shape.out + 2, {}};
  forward.epilogue.bias = bias;
  k.dots(nullptr, forward);
}

void test_step(const Kernels& k, Shape shape, bool has_bias, bool keep_best) {
  Guarded<float> weights(uniform_floats(shape.out * shape.in, 7, -1, 1)), packed(shape.out * padded(shape.in));
  Guarded<float> bias(uniform_floats(padded(shape.out), 8, -1, 1));
  k.pack(nullptr, {shape.in, 1, shape.out, weights.data(), nullptr, shape.in, 1, 0, shape.in, packed.data()});
  Slab one(shape), two(shape);
  LinearStep a;
  a.rows = shape.rows;
  a.layer = {shape.in, shape.out, nullptr, packed.data(), has_bias ? bias.data() : nullptr, {}};
  a.dlogits = one.dlogits.data(), a.dlogits_ld = shape.out + 1;
  a.step = one.step(keep_best);
  a.logits = one.logits.data(), a.logits_ld = shape.out + 2;
  k.linear_step(nullptr, a);
  two_products(k, two, packed.data(), a.layer.bias, keep_best);
  if (!CHECK(one.same(two)))
    std::printf("%s: %d rows, %d -> %d\n", k.name, static_cast<int>(shape.rows), static_cast<int>(shape.in),
                static_cast<int>(shape.out));
  CHECK(one.moving[shape.rows - 1] == 0);
  CHECK(one.intact() && packed.intact() && bias.intact());
}

}  // namespace

int main() {
  for (const Kernels* k : tables())
    for (Index out = 1; out <= kNarrow; ++out)
      for (const Index in : {1, 15, 16, 17, 64, 97, 200})
        for (const Index rows : {1, 2, 5}) test_step(*k, {rows, in, out}, out % 2 == 0, in % 2 == 1);
  return finish();
}
