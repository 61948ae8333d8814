// Rows between the caller's arrays and a slab, and what attacks decide per row.
#include "attacks/apgd_row.h"
#include "attacks/mix_row.h"
#include "attacks/track_best.h"
#include "element.h"
#include "project.h"
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

template <class D>
void load_as(const Array& source, const Index* ids, Index first, Index rows, float* x, Index ld) {
  const auto* data = static_cast<const typename D::Element*>(source.data);
  for (Index r = 0; r < rows; ++r) {
    const auto* from = data + (ids ? ids[r] : first + r) * source.features;
    float* to = x + r * ld;
    for (Index i = 0; i < source.features; ++i) to[i] = static_cast<float>(D::value(from[i]));
  }
}

void load_rows(Stream, const Array& source, const Index* ids, Index first, Index rows, float* x, Index ld) {
  switch (source.dtype) {
    case DType::float32:
      return load_as<Single>(source, ids, first, rows, x, ld);
    case DType::float64:
      return load_as<Double>(source, ids, first, rows, x, ld);
    case DType::float16:
      return load_as<Half>(source, ids, first, rows, x, ld);
  }
}

double absolute(double v) { return v < 0 ? -v : v; }

// The norm of out - x as float64 sees it.
template <class D>
double distance(Norm norm, Index n, const typename D::Element* x, const typename D::Element* y) {
  double total = 0;
  for (Index i = 0; i < n; ++i) {
    const double d = absolute(D::value(y[i]) - D::value(x[i]));
    if (norm == Norm::linf) total = d > total ? d : total;
    if (norm == Norm::l2) total += d * d;
    if (norm == Norm::l1) total += d;
    if (norm == Norm::l0) total += d != 0;
  }
  return norm == Norm::l2 ? __builtin_sqrt(total) : total;
}

// What distance<Single> is in L-infinity, a vector at a time.
double farthest(Index n, const float* x, const float* y) {
  DVec most = {};
  for_lanes(n, [&](Index i, Index m) {
    const DVec d = to_double(load(y + i, m)) - to_double(load(x + i, m)), size = d < 0.0 ? -d : d;
    most = size > most ? size : most;
  });
  return largest(most);
}

// The slab's float32 y around the float32 rounding of x becomes a point around x itself that keeps ball and box.
template <class D>
void store_row(const StoreRows& a, Index r) {
  using Element = typename D::Element;
  const Index n = a.features, id = a.first + r;
  const Element* x = static_cast<const Element*>(a.x.data) + id * n;
  Element* out = static_cast<Element*>(a.out.data) + id * n;
  const float* y = a.y + r * a.ld;
  const double eps = a.eps[id];
  const auto change = [&](Index i) {
    const double from = D::value(x[i]);
    if (y[i] == static_cast<float>(from)) return 0.0;  // untouched
    double to = y[i];
    if (a.box_lo) to = to < a.box_lo[i] ? a.box_lo[i] : to > a.box_hi[i] ? a.box_hi[i] : to;
    return to - from;
  };
  double scale = 1.0;
  if (a.norm == Norm::l2 || a.norm == Norm::l1) {
    double total = 0;
    for (Index i = 0; i < n; ++i) total += a.norm == Norm::l2 ? change(i) * change(i) : absolute(change(i));
    const double norm = a.norm == Norm::l2 ? __builtin_sqrt(total) : total;
    const double limit = within(eps, n);
    if (norm > limit) scale = limit / norm * (1.0 - 0x1p-40);
  }
  for (Index i = 0; i < n; ++i) {
    double d = change(i) * scale;
    if (a.norm == Norm::linf) d = d > eps ? eps : d < -eps ? -eps : d;
    out[i] = d == 0.0 ? x[i] : D::add_inside(x[i], d);
    if (!a.outward || d == 0.0) continue;
    const Element further = D::add_outside(x[i], d);
    const double to = D::value(further);
    const bool inside = !a.box_lo || (to >= a.box_lo[i] && to <= a.box_hi[i]);
    if (inside && to - to == 0.0) out[i] = further;
  }
}

template <class D>
void store_as(const StoreRows& a) {
  using Element = typename D::Element;
  for (Index r = 0; r < a.rows; ++r) {
    store_row<D>(a, r);
    if (!a.distance) continue;
    const Index at = (a.first + r) * a.features;
    a.distance[a.first + r] = distance<D>(a.norm, a.features, static_cast<const Element*>(a.x.data) + at,
                                          static_cast<const Element*>(a.out.data) + at);
  }
}

void store_rows(Stream, const StoreRows& a) {
  switch (a.x.dtype) {
    case DType::float32: {
      // The kernels keep the bound in float32 themselves.
      for (Index r = 0; r < a.rows; ++r) {
        const Index at = (a.first + r) * a.features;
        float* out = static_cast<float*>(a.out.data) + at;
        const float* y = a.y + r * a.ld;
        for_lanes(a.features, [&](Index i, Index n) { store(out + i, load(y + i, n), n); });
        if (!a.distance) continue;
        const float* x = static_cast<const float*>(a.x.data) + at;
        a.distance[a.first + r] =
            a.norm == Norm::linf ? farthest(a.features, x, out) : distance<Single>(a.norm, a.features, x, out);
      }
      return;
    }
    case DType::float64:
      return store_as<Double>(a);
    case DType::float16:
      return store_as<Half>(a);
  }
}

void copy(Stream, void* to, const void* from, Index bytes) {
  __builtin_memcpy(to, from, static_cast<std::size_t>(bytes));
}

void fill(Stream, void* to, int byte, Index bytes) { __builtin_memset(to, byte, static_cast<std::size_t>(bytes)); }

void put(Stream, void* to, const void* values, Index bytes) {
  __builtin_memcpy(to, values, static_cast<std::size_t>(bytes));
}

void copy_rows(Stream, Index rows, Index n, const float* from, Index ld_from, float* to, Index ld_to,
               const std::int32_t* slot, const std::uint8_t* keep) {
  for (Index r = 0; r < rows; ++r) {
    if (keep && !keep[r]) continue;
    const float* source = from + r * ld_from;
    float* target = to + (slot ? slot[r] : r) * ld_to;
    for_lanes(n, [&](Index i, Index m) { store(target + i, load(source + i, m), m); });
  }
}

Index compact(Stream, Index rows, const std::uint8_t* leave, const RowBuffer* buffers, int count) {
  Index stay = 0;
  for (Index r = 0; r < rows; ++r) {
    if (leave[r]) continue;
    if (r != stay)
      for (int b = 0; b < count; ++b) {
        char* data = static_cast<char*>(buffers[b].data);
        __builtin_memcpy(data + stay * buffers[b].bytes, data + r * buffers[b].bytes,
                         static_cast<std::size_t>(buffers[b].bytes));
      }
    ++stay;
  }
  return stay;
}

void track_best(Stream, Index rows, const TrackBest& t) {
  for (Index r = 0; r < rows; ++r) track_best_row(t, r);
}

void apgd(Stream, Index rows, const ApgdRows& a) {
  for (Index r = 0; r < rows; ++r) apgd_row(a, r);
}

void mix(Stream, Index rows, const MixRows& a) {
  for (Index r = 0; r < rows; ++r) mix_row(a, r);
}

}  // namespace

void add_rows(Kernels& k) {
  k.load_rows = load_rows;
  k.store_rows = store_rows;
  k.copy = copy;
  k.fill = fill;
  k.put = put;
  k.copy_rows = copy_rows;
  k.compact = compact;
  k.track_best = track_best;
  k.apgd = apgd;
  k.mix = mix;
}

}  // namespace epsball::EPSBALL_ISA
