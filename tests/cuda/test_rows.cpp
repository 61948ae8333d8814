// Rows in and out of an emulated GPU's slab: the CPU's bits, or as near as another order of summation is; copies in
// every direction, rows that leave in order, and each row's best point.
#include "launch.cuh"

#include <algorithm>
#include <memory>

#include "attacks/apgd_row.h"
#include "attacks/mix_row.h"
#include "attacks/track_best.h"
#include "check.h"
#include "cpu.h"
#include "device_array.h"
#include "half.h"
#include "table.cuh"

using namespace epsball;
using namespace epsball::test;

namespace {

std::uint16_t as(double v, std::uint16_t) { return cuda::float_to_half_down(static_cast<float>(v)); }
double as(double v, double) { return v; }
float as(double v, float) { return static_cast<float>(v); }
double value(std::uint16_t v) { return cuda::half_to_float(v); }
double value(double v) { return v; }

DType dtype_of(float) { return DType::float32; }
DType dtype_of(double) { return DType::float64; }
DType dtype_of(std::uint16_t) { return DType::float16; }

// Doubles that are no floats.
template <class T>
std::vector<T> elements(Index count, unsigned seed) {
  const auto high = uniform_floats(count, seed, 0.0f, 1.0f, 0.1f), low = uniform_floats(count, seed + 1, 0.0f, 1e-9f);
  std::vector<T> out;
  for (Index i = 0; i < count; ++i) out.push_back(as(static_cast<double>(high[i]) + low[i], T{}));
  return out;
}

// ---- load ----

template <class T>
void test_load(Index n, bool by_id) {
  const Index rows = 5, ld = n + 3, first = by_id ? 0 : 2;
  auto source = elements<T>(9 * n, static_cast<unsigned>(n));
  source[first * n] = as(6e-8, T{});  // a denormal half
  const std::vector<Index> ids = {8, 0, 3, 3, 7};
  const std::vector<float> before(rows * ld, 7.0f);
  DeviceArray<T> gpu_source(source);
  DeviceArray<Index> gpu_ids(ids);
  DeviceArray<float> x(before);
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{2});  // of the slab before
  cuda::DeviceStream stream{nullptr, active.data()};
  cuda::table().load_rows(&stream, {gpu_source.data(), dtype_of(T{}), 9, n}, by_id ? gpu_ids.data() : nullptr, first,
                          rows, x.data(), ld);
  for (const Kernels* cpu : tables()) {
    auto wanted = before;
    cpu->load_rows(nullptr, {source.data(), dtype_of(T{}), 9, n}, by_id ? ids.data() : nullptr, first, rows,
                   wanted.data(), ld);
    CHECK(same_bits(x.host(), wanted));
  }
}

// ---- store ----

template <class T>
struct Stored {
  std::vector<T> out;
  std::vector<double> distance;
};

template <class T>
struct StoreProblem {
  Norm norm;
  Index n, rows = 4, first = 2, ld;
  bool box;
  std::vector<T> x, out;
  std::vector<double> eps = {9, 9, 0.3, 0.05, 1.0, 0.0, 9}, box_lo, box_hi, distance = std::vector<double>(7, -1.0);
  std::vector<float> y;

  StoreProblem(Norm which, Index features, bool boxed)
      : norm(which),
        n(features),
        ld(features + 2),
        box(boxed),
        x(elements<T>(7 * n, 5)),
        out(static_cast<std::size_t>(7 * n), as(0.5, T{})),
        box_lo(static_cast<std::size_t>(n), 0.001),
        box_hi(static_cast<std::size_t>(n), 0.999),
        y(rows * ld, 7.0f) {
    if (norm == Norm::l0) eps = {9, 9, 3, 1, 5, 0, 9};
    for (Index r = 0; r < rows; ++r) move(r);
  }

  // Points of a float32 slab, a little outside the ball; an eighth of the features is untouched.
  void move(Index r) {
    const auto noise = uniform_floats(n, static_cast<unsigned>(r) + 40, -1.0f, 1.0f, 0.125f);
    const double e = eps[first + r];
    double total = 0;
    for (const float v : noise) total += norm == Norm::l2 ? static_cast<double>(v) * v : std::fabs(v);
    const double length = norm == Norm::l2 ? std::sqrt(total) : norm == Norm::l1 ? total : 1.0;
    for (Index i = 0; i < n; ++i) {
      double d = length > 0 ? noise[i] * e * 1.000001 / length : 0.0;
      if (norm == Norm::l0) d = i < static_cast<Index>(e) ? noise[i] : 0.0;
      y[r * ld + i] = static_cast<float>(static_cast<float>(value(x[(first + r) * n + i])) + d);
    }
  }

  StoreRows descriptor() const {
    StoreRows a;
    a.norm = norm;
    a.rows = rows;
    a.features = n;
    a.ld = ld;
    a.first = first;
    return a;
  }

  Stored<T> on_cpu(const Kernels& cpu) const {
    Stored<T> s{out, distance};
    auto in = x;
    StoreRows a = descriptor();
    a.y = y.data();
    a.x = {in.data(), dtype_of(T{}), 7, n};
    a.out = {s.out.data(), dtype_of(T{}), 7, n};
    a.eps = eps.data();
    a.box_lo = box ? box_lo.data() : nullptr;
    a.box_hi = box ? box_hi.data() : nullptr;
    a.distance = s.distance.data();
    cpu.store_rows(nullptr, a);
    return s;
  }

  Stored<T> on_gpu(Index rows_stored, bool with_distance) const {
    DeviceArray<T> in(x), stored(out);
    DeviceArray<float> slab(y);
    DeviceArray<double> radius(eps), low(box_lo), high(box_hi), lengths(distance);
    DeviceArray<std::int32_t> active(std::vector<std::int32_t>{1});  // the others are solved, and stored all the same
    cuda::DeviceStream stream{nullptr, active.data()};
    StoreRows a = descriptor();
    a.rows = rows_stored;
    a.y = slab.data();
    a.x = {in.data(), dtype_of(T{}), 7, n};
    a.out = {stored.data(), dtype_of(T{}), 7, n};
    a.eps = radius.data();
    a.box_lo = box ? low.data() : nullptr;
    a.box_hi = box ? high.data() : nullptr;
    a.distance = with_distance ? lengths.data() : nullptr;
    cuda::table().store_rows(&stream, a);
    return {stored.host(), lengths.host()};
  }
};

// The factor that brings a row into its ball comes from another order of summation; a half may then be its neighbour.
bool near(double a, double b, Index, std::uint16_t) { return std::fabs(a - b) <= 0x1p-10 * std::fabs(b) + 0x1p-24; }
bool near(double a, double b, Index n, double) {
  return std::fabs(a - b) <= static_cast<double>(n + 8) * 0x1p-52 * (std::fabs(b) + 1.0);
}
bool near(double a, double b, Index, float) { return a == b; }

template <class T>
void check_distance(const StoreProblem<T>& p, const Stored<T>& got) {
  for (Index r = p.first; r < p.first + p.rows; ++r)
    for (const bool backwards : {false, true}) {
      double total = 0;
      for (Index k = 0; k < p.n; ++k) {
        const Index at = r * p.n + (backwards ? p.n - 1 - k : k);
        const double d = std::fabs(value(got.out[at]) - value(p.x[at]));
        if (p.norm == Norm::linf) total = std::max(total, d);
        if (p.norm == Norm::l2) total += d * d;
        if (p.norm == Norm::l1) total += d;
        if (p.norm == Norm::l0) total += d != 0;
      }
      if (p.norm == Norm::l2) total = std::sqrt(total);
      CHECK_NEAR(got.distance[r], total, static_cast<double>(2 * p.n + 2) * 0x1p-53 * total);
      if (dtype_of(T{}) != DType::float32) CHECK(total <= p.eps[r]);  // float32's bound is the kernels' before
    }
}

template <class T>
void test_store(Norm norm, Index n, bool box) {
  const StoreProblem<T> p(norm, n, box);
  const auto got = p.on_gpu(p.rows, true);
  const bool summed = norm == Norm::l2 || norm == Norm::l1;
  for (const Kernels* cpu : tables()) {
    const auto wanted = p.on_cpu(*cpu);
    bool same = true;
    for (std::size_t i = 0; i < got.out.size(); ++i)
      same &= summed ? near(value(got.out[i]), value(wanted.out[i]), n, T{}) : got.out[i] == wanted.out[i];
    CHECK(same);
  }
  check_distance(p, got);
  CHECK(got.distance[1] == -1.0 && got.distance[6] == -1.0);
  const auto alone = p.on_gpu(1, false);
  CHECK(same_bits(&alone.out[p.first * n], &got.out[p.first * n], n));
  CHECK(alone.distance == p.distance);
}

// ---- copies ----

// The call takes along what it was given.
void test_put() {
  for (const Index count : {1, 3, static_cast<int>(kMostPut / 4)}) {
    std::vector<std::int32_t> values = {3, -1, 4, 1, -5, 9, 2, 6}, wanted(kMostPut / 4 + 1, 7);
    DeviceArray<std::int32_t> gpu(wanted);
    cuda::table().put(nullptr, gpu.data(), values.data(), count * 4);
    tables().front()->put(nullptr, wanted.data(), values.data(), count * 4);
    std::fill(values.begin(), values.end(), 0);
    CHECK(gpu.host() == wanted && wanted.back() == 7 &&
          wanted[count - 1] == std::vector{3, -1, 4, 1, -5, 9, 2, 6}[count - 1]);
  }
}

void test_copies_in_every_direction() {
  const Kernels& gpu = cuda::table();
  const auto values = uniform_floats(33, 1, 0.0f, 1.0f);
  const Index bytes = 33 * static_cast<Index>(sizeof(float));
  DeviceArray<float> a(33), b(33);
  std::vector<float> back(33), host(33);
  gpu.copy(nullptr, a.data(), values.data(), bytes);
  gpu.copy(nullptr, b.data(), a.data(), bytes);
  gpu.copy(nullptr, back.data(), b.data(), bytes);
  gpu.copy(nullptr, host.data(), back.data(), bytes);
  cuda::synchronize(nullptr);
  CHECK(same_bits(back, values) && same_bits(host, values));
  gpu.fill(nullptr, a.data() + 1, 0, bytes - 8);
  gpu.copy(nullptr, nullptr, nullptr, 0);
  gpu.fill(nullptr, nullptr, 0, 0);
  auto wanted = values;
  std::fill(wanted.begin() + 1, wanted.end() - 1, 0.0f);
  CHECK(same_bits(a.host(), wanted));
}

void test_copy_rows(Index n, bool slots, bool choose, std::int32_t active_rows) {
  const Index rows = 6, ld_from = n + 1, ld_to = n + 2;
  const auto from = uniform_floats(rows * ld_from, 1, 0.0f, 1.0f);
  const std::vector<std::int32_t> slot = {0, 2, 3, 5, 6, 8};
  const std::vector<std::uint8_t> keep = {1, 0, 1, 1, 0, 1};
  const std::vector<float> before(9 * ld_to, 7.0f);
  DeviceArray<float> gpu_from(from), to(before);
  DeviceArray<std::int32_t> gpu_slot(slot), active(std::vector<std::int32_t>{active_rows});
  DeviceArray<std::uint8_t> gpu_keep(keep);
  cuda::DeviceStream stream{nullptr, active.data()};
  cuda::table().copy_rows(&stream, rows, n, gpu_from.data(), ld_from, to.data(), ld_to,
                          slots ? gpu_slot.data() : nullptr, choose ? gpu_keep.data() : nullptr);
  auto wanted = before;
  tables().front()->copy_rows(nullptr, std::min<Index>(rows, active_rows), n, from.data(), ld_from, wanted.data(),
                              ld_to, slots ? slot.data() : nullptr, choose ? keep.data() : nullptr);
  CHECK(same_bits(to.host(), wanted));
}

// ---- rows that leave ----

std::vector<std::uint8_t> leavers(Index rows, int one_in, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::uint8_t> leave;
  for (Index r = 0; r < rows; ++r) leave.push_back(one_in > 0 && random() % static_cast<unsigned>(one_in) == 0);
  return leave;
}

// Buffers of all widths, compacted twice: the second time the host still says how many there were at first.
void test_compact(Index rows, int one_in, int count) {
  const std::vector<Index> widths = {1, 4, 8, 3, 4 * 33, 130};
  std::vector<std::vector<std::uint8_t>> wanted;
  std::vector<std::unique_ptr<DeviceArray<std::uint8_t>>> data;
  std::vector<RowBuffer> buffers, cpu_buffers;
  for (int b = 0; b < count; ++b) {
    const Index width = widths[b % widths.size()];
    std::mt19937 random(static_cast<unsigned>(b));
    std::vector<std::uint8_t> bytes(rows * width);
    for (auto& v : bytes) v = static_cast<std::uint8_t>(random());
    wanted.push_back(bytes);
    data.push_back(std::make_unique<DeviceArray<std::uint8_t>>(bytes));
    buffers.push_back({data.back()->data(), width});
  }
  for (std::size_t b = 0; b < buffers.size(); ++b) cpu_buffers.push_back({wanted[b].data(), buffers[b].bytes});
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{static_cast<std::int32_t>(rows)});
  cuda::DeviceStream stream{nullptr, active.data()};
  Index left = rows;
  for (unsigned round = 0; round < 2; ++round) {
    const auto leave = leavers(rows, one_in, round + 7);
    DeviceArray<std::uint8_t> gpu_leave(leave);
    left = tables().front()->compact(nullptr, left, leave.data(), cpu_buffers.data(), count);
    CHECK(cuda::table().compact(&stream, rows, gpu_leave.data(), buffers.data(), count) == rows);
    CHECK(active.host()[0] == left);
    bool same = true;
    for (std::size_t b = 0; b < buffers.size(); ++b) same &= data[b]->host() == wanted[b];
    CHECK(same);
  }
}

void test_compact_needs_a_place_for_the_count() {
  DeviceArray<std::uint8_t> leave(std::vector<std::uint8_t>(3, 0));
  CHECK_THROWS(cuda::table().compact(nullptr, 3, leave.data(), nullptr, 0), cuda::CudaError);
}

// ---- each row's best point ----

struct Tracks {
  std::vector<float> loss, best_loss, trace;
  std::vector<std::int32_t> predicted, labels, slot;
  std::vector<std::uint8_t> moving, success, still, broken, improved, done;
  std::vector<Index> queries;

  explicit Tracks(Index rows)
      : loss(uniform_floats(rows, 1, -1.0f, 1.0f)),
        best_loss(uniform_floats(rows + 3, 2, -1.0f, 1.0f)),
        trace(3 * (rows + 3), 7.0f),
        moving(leavers(rows, 2, 3)),
        success(leavers(rows + 3, 2, 4)),
        still(static_cast<std::size_t>(rows + 3), 1),
        broken(leavers(rows + 3, 3, 5)),
        improved(static_cast<std::size_t>(rows), 9),
        done(static_cast<std::size_t>(rows), 9),
        queries(static_cast<std::size_t>(rows + 3), 11) {
    for (Index r = 0; r < rows; ++r) {
      predicted.push_back(static_cast<std::int32_t>(r % 3));
      labels.push_back(static_cast<std::int32_t>(r % 2));
      slot.push_back(static_cast<std::int32_t>(r < 4 ? r : r + 3));
      if (r % 5 == 1) loss[r] = r % 2 ? NAN : HUGE_VALF;
    }
  }
};

void test_track_best(Index rows, bool targeted, bool fresh, bool optional, std::int32_t active_rows) {
  Tracks c(rows);
  DeviceArray<float> loss(c.loss), best_loss(c.best_loss), trace(c.trace);
  DeviceArray<std::int32_t> predicted(c.predicted), labels(c.labels), slot(c.slot);
  DeviceArray<std::uint8_t> moving(c.moving), success(c.success), still(c.still), broken(c.broken),
      improved(c.improved), done(c.done);
  DeviceArray<Index> queries(c.queries);
  const auto fill = [&](TrackBest t, auto& from) {
    t.loss = from.loss.data(), t.predicted = from.predicted.data(), t.labels = from.labels.data();
    t.slot = from.slot.data(), t.moving = from.moving.data();
    t.best_loss = from.best_loss.data(), t.success = from.success.data(), t.queries = from.queries.data();
    t.still = optional ? from.still.data() : nullptr, t.trace = optional ? from.trace.data() : nullptr;
    t.broken = from.broken.data(), t.improved = from.improved.data(), t.done = from.done.data();
    return t;
  };
  TrackBest t;
  t.targeted = t.descend = targeted;
  t.fresh = fresh;
  t.stepped = true;
  t.evaluations = 3;
  t.trace_ld = 3;
  struct {
    DeviceArray<float>&loss, &best_loss, &trace;
    DeviceArray<std::int32_t>&predicted, &labels, &slot;
    DeviceArray<std::uint8_t>&moving, &success, &still, &broken, &improved, &done;
    DeviceArray<Index>& queries;
  } gpu{loss, best_loss, trace, predicted, labels, slot, moving, success, still, broken, improved, done, queries};
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{active_rows});
  cuda::DeviceStream stream{nullptr, active.data()};
  cuda::table().track_best(&stream, rows, fill(t, gpu));
  tables().front()->track_best(nullptr, std::min<Index>(rows, active_rows), fill(t, c));
  CHECK(same_bits(best_loss.host(), c.best_loss) && same_bits(trace.host(), c.trace));
  CHECK(success.host() == c.success && still.host() == c.still && broken.host() == c.broken);
  CHECK(improved.host() == c.improved && done.host() == c.done && queries.host() == c.queries);
}

// ---- APGD ----

struct ApgdState {
  std::vector<float> best, last, checked, size, top;
  std::vector<std::int32_t> rises;
  std::vector<std::uint8_t> halved, improved, back;
};

ApgdState apgd_state(Index rows) {
  ApgdState s{uniform_floats(rows, 1, -1, 1),
              uniform_floats(rows, 2, -1, 1),
              uniform_floats(rows, 3, 1, 9),
              uniform_floats(rows, 4, 0, 1),
              uniform_floats(rows, 5, 1, 9),
              {},
              {},
              {},
              {}};
  for (Index r = 0; r < rows; ++r) s.rises.push_back(static_cast<std::int32_t>(r % 5)), s.halved.push_back(r % 2);
  s.improved = s.back = std::vector<std::uint8_t>(static_cast<std::size_t>(rows), 7);
  return s;
}

void test_apgd(Index rows, bool first, bool descend, bool sparse, std::int32_t steps, std::int32_t active_rows) {
  const auto loss = uniform_floats(rows, 6, -1, 1), eps = uniform_floats(rows, 7, 0, 1),
             changed = uniform_floats(rows, 8, 0, 9);
  ApgdState c = apgd_state(rows);
  DeviceArray<float> gpu_loss(loss), gpu_eps(eps), gpu_changed(changed), best(c.best), last(c.last), checked(c.checked),
      size(c.size), top(c.top);
  DeviceArray<std::int32_t> rises(c.rises), active(std::vector<std::int32_t>{active_rows});
  DeviceArray<std::uint8_t> halved(c.halved), improved(c.improved), back(c.back);
  ApgdRows a;
  a.descend = descend;
  a.first = first;
  a.steps = steps;
  a.features = 9;
  ApgdRows g = a;
  a.loss = loss.data(), a.eps = eps.data(), a.changed = changed.data(), a.best = c.best.data(), a.last = c.last.data();
  a.checked = c.checked.data(), a.size = c.size.data(), a.top = sparse ? c.top.data() : nullptr;
  a.rises = c.rises.data(), a.halved = c.halved.data(), a.improved = c.improved.data(), a.back = c.back.data();
  g.loss = gpu_loss.data(), g.eps = gpu_eps.data(), g.changed = gpu_changed.data(), g.best = best.data();
  g.last = last.data(), g.checked = checked.data(), g.size = size.data(), g.top = sparse ? top.data() : nullptr;
  g.rises = rises.data(), g.halved = halved.data(), g.improved = improved.data(), g.back = back.data();
  cuda::DeviceStream stream{nullptr, active.data()};
  cuda::table().apgd(&stream, rows, g);
  tables().front()->apgd(nullptr, std::min<Index>(rows, active_rows), a);
  CHECK(same_bits(best.host(), c.best) && same_bits(last.host(), c.last) && same_bits(checked.host(), c.checked));
  CHECK(same_bits(size.host(), c.size) && same_bits(top.host(), c.top) && rises.host() == c.rises);
  CHECK(halved.host() == c.halved && improved.host() == c.improved && back.host() == c.back);
}

// Sizes that no float holds: exp(-200) times 3 and exp(-205) times 2.
void test_mix(const Kernels& cpu, bool first, bool weighed) {
  const std::vector<float> log_term = {0.0f, -205.0f, 4.0f, -300.0f}, loss = {0.0f, 1.0f, 2.0f, 3.0f};
  std::vector<float> log_sum = {0.0f, -200.0f, -90.0f, 1.0f}, keep(4, 7.0f), add(4, 7.0f);
  DeviceArray<float> gpu_term(log_term), gpu_loss(loss), gpu_sum(log_sum), gpu_keep(keep), gpu_add(add);
  DeviceArray<std::int32_t> active(std::vector<std::int32_t>{3});
  cuda::DeviceStream stream{nullptr, active.data()};
  cuda::table().mix(
      &stream, 4,
      {gpu_term.data(), weighed ? gpu_loss.data() : nullptr, gpu_sum.data(), first, gpu_keep.data(), gpu_add.data()});
  const auto before = log_sum;
  cpu.mix(nullptr, 3,
          {log_term.data(), weighed ? loss.data() : nullptr, log_sum.data(), first, keep.data(), add.data()});
  const double tolerance = fuses(cpu) ? 0.0 : 16 * 0x1p-24;
  CHECK(same_bits(gpu_sum.host(), log_sum));
  CHECK(all_near(gpu_keep.host(), keep, tolerance) && all_near(gpu_add.host(), add, tolerance));
  for (int r = 0; r < 3; ++r) {
    const double term = log_term[r] - (weighed ? loss[r] : 0.0f), sum = first ? -HUGE_VAL : before[r];
    const double top = std::fmax(term, sum);
    CHECK(std::fabs(keep[r] - std::exp(sum - top)) < 1e-6 && std::fabs(add[r] - std::exp(term - top)) < 1e-6);
    CHECK(std::fabs(log_sum[r] - top) < 1e-4);
  }
}

}  // namespace

int main() {
  for (const Kernels* cpu : tables())
    for (const bool first : {false, true})
      for (const bool weighed : {false, true}) test_mix(*cpu, first, weighed);
  for (const Index n : kSizes) {
    for (const bool by_id : {false, true}) {
      test_load<float>(n, by_id);
      test_load<double>(n, by_id);
      test_load<std::uint16_t>(n, by_id);
      for (const bool choose : {false, true})
        for (const int active : {4, 9}) test_copy_rows(n, by_id, choose, active);
    }
    for (const Norm norm : {Norm::linf, Norm::l2, Norm::l1, Norm::l0})
      for (const bool box : {false, true}) {
        test_store<float>(norm, n, box);
        test_store<double>(norm, n, box);
        test_store<std::uint16_t>(norm, n, box);
      }
    for (const bool targeted : {false, true})
      for (const bool fresh : {false, true})
        for (const bool optional : {false, true}) test_track_best(n, targeted, fresh, optional, n < 20 ? 1000 : 5);
  }
  for (const Index n : kSizes) {
    for (const bool first : {false, true})
      for (const bool sparse : {false, true})
        for (const std::int32_t steps : {0, 4}) test_apgd(n, first, n % 2 == 0, sparse, steps, n < 20 ? 1000 : 5);
  }
  test_copies_in_every_direction();
  test_put();
  for (const Index rows : kSizes)
    for (const int one_in : {0, 1, 3}) test_compact(rows, one_in, 6);
  test_compact(300, 100, 6);  // whole tiles stay before the first row that leaves
  test_compact(300, 10, 34);  // more buffers than one launch takes
  test_compact_needs_a_place_for_the_count();
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
