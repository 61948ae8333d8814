// Convolutions, direct: with the rows of a block in the lanes of a vector, or one row with its channels there.
//
// Either way an output is one chain of fused multiply-adds over the taps it has and their channels, so a row's bits do
// not depend on which way it went.
#include "activation.h"
#include "panel.h"
#include "region.h"
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

// Output channels that are summed at a time where rows are the lanes; divides a panel.
#if EPSBALL_LANES == 8
constexpr Index kChannels = 8;
#elif EPSBALL_LANES == 1
constexpr Index kChannels = 4;
#else
constexpr Index kChannels = 16;
#endif

// ---- from rows to blocks of images and back ----

// to (columns, rows) = from (rows, columns) transposed.
void transpose_matrix(Index rows, Index columns, const float* from, float* to) {
  for (Index r = 0; r < rows; r += kLanes)
    for_lanes(columns, [&](Index c, Index n) {
      const Index m = rows - r < kLanes ? rows - r : kLanes;
      Vec v[kLanes];
      for (Index i = 0; i < kLanes; ++i) v[i] = i < m ? load(from + (r + i) * columns + c, n) : Vec{};
      transpose(v);
      for (Index i = 0; i < n; ++i) store(to + (c + i) * rows + r, v[i], m);
    });
}

void arrange_row(const ArrangeRows& a, const float* from, float* to) {
  if (a.channels == 1)
    for_lanes(a.pixels, [&](Index i, Index n) { store(to + i, load(from + i, n), n); });
  else if (a.to_images)
    transpose_matrix(a.channels, a.pixels, from, to);
  else
    transpose_matrix(a.pixels, a.channels, from, to);
}

// kLanes pixels of a channel at a time.
void arrange_block(const ArrangeRows& a, Index rows, const float* from, float* to) {
  for (Index c = 0; c < a.channels; ++c)
    for_lanes(a.pixels, [&](Index p, Index n) {
      Vec v[kLanes];
      for (Index i = 0; i < kLanes; ++i)
        if (a.to_images)
          v[i] = i < rows ? load(from + i * a.ld_from + c * a.pixels + p, n) : Vec{};
        else
          v[i] = i < n ? load(from + ((p + i) * a.channels + c) * kLanes) : Vec{};
      transpose(v);
      if (a.to_images)
        for (Index i = 0; i < n; ++i) store(to + ((p + i) * a.channels + c) * kLanes, v[i]);
      else
        for (Index i = 0; i < rows; ++i) store(to + i * a.ld_to + c * a.pixels + p, v[i], n);
    });
}

void arrange(Stream, const ArrangeRows& a) {
  for (Index row = 0; row < a.rows; row += a.lanes) {
    const float* from = a.from + row * a.ld_from;
    float* to = a.to + row * a.ld_to;
    const Index rows = a.rows - row < a.lanes ? a.rows - row : a.lanes;
    a.lanes == 1 ? arrange_row(a, from, to) : arrange_block(a, rows, from, to);
  }
}

// ---- runs of outputs ----

// Outputs of one row or column of an image that read the same taps, their inputs `step` floats apart.
struct Run {
  const float* x;  // the first input of the first output
  const float* b;  // its weights
  Index rows, row_step;
  Index length;  // of the chain in each tap row
  Index b_step;
  Index step;
};

// Calls f(output, count, first Taps, inputs between outputs) for outputs along one axis that share their taps, as those
// `apart` from each other may, `most` at a time.
template <class F>
EPSBALL_INLINE void for_runs(const Taps* taps, Index size, Index apart, Index most, F f) {
  for (Index start = 0; start < apart; ++start)
    for (Index output = start; output < size;) {
      const Taps& t = taps[output];
      Index count = 1, step = 0;
      for (Index next = output + apart; count < most && next < size; next += apart, ++count) {
        const Taps& n = taps[next];
        if (count == 1) step = n.first - t.first;
        if (n.count != t.count || n.tap != t.tap || n.first != t.first + count * step) break;
      }
      f(output, count, t, step);
      output += count * apart;
    }
}

// ---- rows as lanes: every weight is broadcast ----

// sums[p][r] of Pixels outputs and Channels channels.
template <int Channels, int Pixels>
void tile_of_rows(const Run& run, Index width, float* sums) {
  Vec acc[Pixels][Channels];
#pragma GCC unroll 16
  for (int p = 0; p < Pixels; ++p)
#pragma GCC unroll 16
    for (int r = 0; r < Channels; ++r) acc[p][r] = Vec{};
  for (Index row = 0; row < run.rows; ++row) {
    const float *x = run.x + row * run.row_step, *b = run.b + row * run.b_step;
    for (Index q = 0; q < run.length; ++q) {
      Vec v[Pixels];
#pragma GCC unroll 16
      for (int p = 0; p < Pixels; ++p) v[p] = load(x + p * run.step);
#pragma GCC unroll 16
      for (int r = 0; r < Channels; ++r)
#pragma GCC unroll 16
        for (int p = 0; p < Pixels; ++p) acc[p][r] = mul_add(splat<Vec>(b[r]), v[p], acc[p][r]);
      x += kLanes;
      b += width;
    }
  }
#pragma GCC unroll 16
  for (int p = 0; p < Pixels; ++p)
#pragma GCC unroll 16
    for (int r = 0; r < Channels; ++r) store(sums + (p * Channels + r) * kLanes, acc[p][r]);
}

// Few channels are too few chains to hide the latency of a multiply-add: several outputs at a time.
constexpr int pixels_beside(int channels) { return channels >= 8 ? 1 : channels >= 3 ? 4 : 14; }

// ---- one row: channels as lanes, every input is broadcast ----

template <int Vecs, int Pixels>
void tile_of_channels(const Run& run, float* sums) {
  constexpr Index width = Vecs * kLanes;
  Vec acc[Pixels][Vecs];
#pragma GCC unroll 16
  for (int p = 0; p < Pixels; ++p)
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) acc[p][v] = Vec{};
  for (Index row = 0; row < run.rows; ++row) {
    const float* b = run.b + row * run.b_step;
    const float* x[Pixels];
#pragma GCC unroll 16
    for (int p = 0; p < Pixels; ++p) x[p] = run.x + row * run.row_step + p * run.step;
    for (Index q = 0; q < run.length; ++q) {
      Vec bv[Vecs];
#pragma GCC unroll 4
      for (int v = 0; v < Vecs; ++v) bv[v] = load(b + v * kLanes);
      b += width;
#pragma GCC unroll 16
      for (int p = 0; p < Pixels; ++p) {
        const Vec xv = splat<Vec>(x[p][q]);
#pragma GCC unroll 4
        for (int v = 0; v < Vecs; ++v) acc[p][v] = mul_add(xv, bv[v], acc[p][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int p = 0; p < Pixels; ++p)
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) store(sums + p * width + v * kLanes, acc[p][v]);
}

// ---- a convolution ----

// Channels [j, j + count) of one block of images, their weights in a panel at `b`, `width` floats wide; `line` outputs
// lie from one row of the image to the next.
struct Part {
  const float* x;
  float* y;
  Index block, line;
  const float* b;
  Index width, j, count;
};

// Stores values [i, i + n) of an output, `at` floats into y; `bias` is theirs.
EPSBALL_INLINE void finish(const Conv& c, const Part& part, Index at, Vec v, Vec bias, Index n) {
  const Epilogue& e = c.epilogue;
  if (e.bias) v = v + bias;
  if (e.pre_activation) store(e.pre_activation + (part.y - c.y) + at, v, n);
  v = e.activation.kind == Activation::relu ? activate({Activation::relu, 0.0f}, v) : activate(e.activation, v);
  if (e.saved) {
    const Vec saved = load(e.saved + part.block * e.saved_ld * c.lanes + at, n);
    v = v * (e.derivative.kind == Activation::relu ? derivative({Activation::relu, 0.0f}, saved)
                                                   : derivative(e.derivative, saved));
  }
  store(part.y + at, v, n);
}

// Nothing but the sums is wanted: the gradient of a model's input.
bool is_plain(const Epilogue& e) {
  return !e.bias && !e.pre_activation && !e.saved && e.activation.kind == Activation::identity;
}

// With rows as lanes every value is a vector of its own.
EPSBALL_INLINE void finish(const Conv& c, const Part& part, Index output, const float* sums) {
  const float* bias = c.epilogue.bias ? c.epilogue.bias + part.j : sums;  // if there is none, anything
  const Index at = (output * c.out_channels + part.j) * c.lanes;
  if (is_plain(c.epilogue))
    for_lanes(part.count * c.lanes, [&](Index i, Index n) { store(part.y + at + i, load(sums + i, n), n); });
  else if (c.lanes == kLanes)
    for (Index j = 0; j < part.count; ++j)
      finish(c, part, at + j * kLanes, load(sums + j * kLanes), splat<Vec>(bias[j]), kLanes);
  else
    for_lanes(part.count, [&](Index j, Index n) { finish(c, part, at + j, load(sums + j, n), load(bias + j, n), n); });
}

// Every output of a part, up to Most at a time: tile<count>(run) leaves their sums `apart` floats from each other.
// Where few neighbours in a row share their taps, as at the borders, those in a column do: single chains would wait.
template <int Most, class F>
EPSBALL_INLINE void for_outputs(const Conv& c, const Part& part, Index apart, const float* sums, F tile) {
  const Index pixel = c.in_channels * c.lanes, line = c.in_width * pixel;
  const Index tap = c.in_channels * part.width, tap_row = c.tap_columns * tap;
  const auto outputs = [&](Index first, Index count, Index output_step, const Taps& down, const Taps& across,
                           Index step) {
    const Run run{part.x + down.first * line + across.first * pixel,
                  part.b + down.tap * tap_row + across.tap * tap,
                  down.count,
                  line,
                  across.count * c.in_channels,
                  tap_row,
                  step};
    with_count<Most>(count, [&]<int Pixels>() { tile.template operator()<Pixels>(run); });
    for (Index p = 0; p < count; ++p) finish(c, part, first + p * output_step, sums + p * apart);
  };
  const auto is_short = [](Index count) { return 4 * count <= Most; };
  for (Index row = 0; row < c.out_height; ++row)
    for_runs(c.across, c.out_width, c.column_step, Most, [&](Index column, Index count, const Taps& t, Index step) {
      if (is_short(count)) return;
      outputs(row * part.line + column, count, c.column_step, c.down[row], t, step * pixel);
    });
  for_runs(c.across, c.out_width, c.column_step, Most, [&](Index column, Index columns, const Taps&, Index) {
    for (Index i = 0; is_short(columns) && i < columns; ++i, column += c.column_step)
      for_runs(c.down, c.out_height, c.row_step, Most, [&](Index row, Index count, const Taps& t, Index step) {
        outputs(row * part.line + column, count, c.row_step * part.line, t, c.across[column], step * line);
      });
  });
}

template <int Channels>
void rows_part(const Conv& c, const Part& part) {
  constexpr int kMost = pixels_beside(Channels);
  alignas(64) float sums[kMost * Channels * kLanes];
  for_outputs<kMost>(c, part, Channels * kLanes, sums,
                     [&]<int Pixels>(const Run& run) { tile_of_rows<Channels, Pixels>(run, part.width, sums); });
}

template <int Vecs>
void channels_part(const Conv& c, const Part& part) {
  constexpr int kMost = Vecs > 2 ? 4 : 8;
  alignas(64) float sums[kMost * Vecs * kLanes];
  for_outputs<kMost>(c, part, Vecs * kLanes, sums,
                     [&]<int Pixels>(const Run& run) { tile_of_channels<Vecs, Pixels>(run, sums); });
}

// Where a weight serves one output only, that output of several blocks at a time.
template <int Channels>
void dense_part(const Conv& c, Part part, Index blocks) {
  constexpr int kMost = 3;
  alignas(64) float sums[kMost * Channels * kLanes];
  const Index step = c.lanes * c.ldx, tap = c.in_channels * part.width;
  for (Index row = 0; row < c.out_height; ++row)
    for (Index column = 0; column < c.out_width; ++column) {
      const Taps &down = c.down[row], &across = c.across[column];
      const Index first = (down.first * c.in_width + across.first) * c.in_channels * c.lanes;
      for (Index block = 0; block < blocks; block += kMost) {
        const Index count = blocks - block < kMost ? blocks - block : kMost;
        const Run run{c.x + block * step + first,
                      part.b + (down.tap * c.tap_columns + across.tap) * tap,
                      down.count,
                      c.in_width * c.in_channels * c.lanes,
                      across.count * c.in_channels,
                      c.tap_columns * tap,
                      step};
        with_count<kMost>(count, [&]<int Blocks>() { tile_of_rows<Channels, Blocks>(run, part.width, sums); });
        for (Index i = 0; i < count; ++i) {
          part.block = block + i;
          part.y = c.y + part.block * c.lanes * c.ldy;
          finish(c, part, row * c.out_width + column, sums + i * Channels * kLanes);
        }
      }
    }
}

// ---- one row with few output channels: outputs as lanes, from channels first ----

constexpr Index kFewFloats = 32768;  // of the input, which stands on the stack channels first

// Whether neighbouring outputs that share their taps read neighbouring inputs.
bool reads_neighbours(const Conv& c) {
  for (Index x = 0; x + c.column_step < c.out_width; ++x)
    if (c.across[x + c.column_step].first - c.across[x].first > 1) return false;
  return true;
}

bool has_few_channels(const Conv& c) {
  return c.lanes == 1 && 4 * c.out_channels <= kLanes && c.in_height * c.in_width * c.in_channels <= kFewFloats &&
         reads_neighbours(c);
}

void few_channels_row(const Conv& c, Part part) {
  alignas(64) float planes[kFewFloats];
  const Index plane = c.in_height * c.in_width;
  transpose_matrix(plane, c.in_channels, part.x, planes);
  part.count = 1;
  for (Index row = 0; row < c.out_height; ++row)
    for_runs(c.across, c.out_width, c.column_step, kLanes, [&](Index column, Index count, const Taps& across, Index) {
      const Taps& down = c.down[row];
      for (Index j = 0; j < c.out_channels; ++j) {
        Vec acc = {};
        for (Index y = 0; y < down.count; ++y)
          for (Index x = 0; x < across.count; ++x) {
            const float* in = planes + (down.first + y) * c.in_width + across.first + x;
            const Index tap = (down.tap + y) * c.tap_columns + across.tap + x;
            const float* b = part.b + tap * c.in_channels * part.width + j;
            for (Index i = 0; i < c.in_channels; ++i)
              acc = mul_add(splat<Vec>(b[i * part.width]), load(in + i * plane, count), acc);
          }
        float sums[kLanes];
        store(sums, acc);
        part.j = j;
        for (Index p = 0; p < count; ++p) finish(c, part, row * c.out_width + column + p * c.column_step, sums + p);
      }
    });
}

// ---- inputs that are mostly zeros: only the others are multiplied ----

// What the gradient of a maximum over windows is. Every input that is not 0 is added to the sums of all outputs that
// read it, one row of taps after another, so that each output is the same chain as ever, its zeros left out, and a row
// of taps' weights stay in the first cache.

constexpr Index kSparseFloats = 16384;  // of the input, and of the sums, which stand on the stack
constexpr int kSparseColumns = 7, kSparseVecs = 2;

// A row's inputs that are not 0: those of pixel p are [start[p], start[p + 1]).
struct NonZeros {
  std::int32_t channel[kSparseFloats + kLanes];
  float value[kSparseFloats + kLanes];
  std::int32_t start[kSparseFloats + 1];

  // x: (pixels, channels), `stride` floats from value to value.
  void gather_from(const float* x, Index stride, Index pixels, Index channels) {
    std::int32_t count = 0;
    for (Index p = 0; p < pixels; ++p, x += channels * stride) {
      start[p] = count;
      for_lanes(channels, [&](Index i, Index n) {
        const Vec v = stride == 1 ? load(x + i, n) : gather(x + i * stride, stride, n);
        float all[kLanes];
        store(all, v);
        const auto base = static_cast<std::int32_t>(i);
        const auto found = static_cast<std::int32_t>(store_indices(v != 0.0f, base, channel + count));
        for (std::int32_t e = count; e < count + found; ++e) value[e] = all[channel[e] - base];
        count += found;
      });
    }
    start[pixels] = count;
  }
};

// Whether an output's column and that of a tap's input differ alike everywhere, as with a stride of 1.
bool is_shift(const Conv& c) {
  const Index shift = c.across[0].first - c.across[0].tap;
  bool ok = true;
  for (Index x = 0; x < c.out_width; ++x)
    ok &= c.across[x].count > 0 && c.across[x].first - c.across[x].tap == shift + x;
  return ok;
}

// Depends on shapes alone: a row goes the same way in every company.
bool skips_zeros(const Conv& c) {
  const Epilogue& e = c.epilogue;
  return c.sparse && !e.bias && !e.pre_activation && e.activation.kind == Activation::identity && is_shift(c) &&
         c.tap_columns <= kSparseColumns && c.in_height * c.in_width * c.in_channels <= kSparseFloats &&
         c.out_height * (c.in_width + c.tap_columns - 1) * kSparseVecs * kLanes <= kSparseFloats;
}

// Adds a pixel's inputs times their weights to Columns neighbouring outputs, the last of which is at `sums`.
template <int Vecs, int Columns>
EPSBALL_INLINE void add_pixel(const NonZeros& x, Index pixel, const float* b, Index width, Index tap, float* sums) {
  constexpr Index kOutput = Vecs * kLanes;
  Vec acc[Columns][Vecs];
#pragma GCC unroll 8
  for (int t = 0; t < Columns; ++t)
#pragma GCC unroll 2
    for (int v = 0; v < Vecs; ++v) acc[t][v] = load(sums - t * kOutput + v * kLanes);
  for (std::int32_t e = x.start[pixel]; e < x.start[pixel + 1]; ++e) {
    const Vec value = splat<Vec>(x.value[e]);
    const float* weights = b + x.channel[e] * width;
#pragma GCC unroll 8
    for (int t = 0; t < Columns; ++t)
#pragma GCC unroll 2
      for (int v = 0; v < Vecs; ++v) acc[t][v] = mul_add(value, load(weights + t * tap + v * kLanes), acc[t][v]);
  }
#pragma GCC unroll 8
  for (int t = 0; t < Columns; ++t)
#pragma GCC unroll 2
    for (int v = 0; v < Vecs; ++v) store(sums - t * kOutput + v * kLanes, acc[t][v]);
}

// sums (out_height, in_width + Columns - 1, Vecs vectors): a pixel in column x is read by outputs in columns
// x .. x + Columns - 1 of it, which are those of y shifted by the padding.
template <int Vecs, int Columns>
void sparse_sums(const Conv& c, const Part& part, const NonZeros& x, float* sums) {
  constexpr Index kOutput = Vecs * kLanes;
  const Index row_floats = (c.in_width + Columns - 1) * kOutput, tap = c.in_channels * part.width;
  for (Index i = 0; i < c.out_height * row_floats; i += kLanes) store(sums + i, Vec{});
  for (Index t = 0; t < c.taps / Columns; ++t)
    for (Index row = 0; row < c.out_height; ++row) {
      const Taps& down = c.down[row];
      if (t < down.tap || t >= down.tap + down.count) continue;
      const Index first = (down.first + t - down.tap) * c.in_width;
      for (Index column = 0; column < c.in_width; ++column)
        add_pixel<Vecs, Columns>(x, first + column, part.b + t * Columns * tap, part.width, tap,
                                 sums + row * row_floats + (column + Columns - 1) * kOutput);
    }
}

// Row `lane` of a block: its sums become outputs.
void finish_sparse(const Conv& c, const Part& part, Index lane, Index vecs, const float* sums) {
  const Epilogue& e = c.epilogue;
  const Index shift = c.tap_columns - 1 + c.across[0].first - c.across[0].tap;  // of output column 0 in sums
  const Index row_floats = (c.in_width + c.tap_columns - 1) * vecs * kLanes;
  for (Index row = 0; row < c.out_height; ++row)
    for (Index column = 0; column < c.out_width; ++column) {
      const float* from = sums + row * row_floats + (column + shift) * vecs * kLanes;
      const Index at = ((row * c.out_width + column) * c.out_channels + part.j) * c.lanes + lane;
      for_lanes(part.count, [&](Index j, Index n) {
        const Index i = at + j * c.lanes;
        Vec v = load(from + j, n);
        if (c.lanes == 1) return finish(c, part, i, v, Vec{}, n);
        if (e.saved)
          v = v * derivative(e.derivative, gather(e.saved + part.block * e.saved_ld * c.lanes + i, c.lanes, n));
        scatter(part.y + i, c.lanes, v, n);
      });
    }
}

// Calls f(part) for every panel of output channels, `most` channels at a time at most.
template <class F>
EPSBALL_INLINE void for_parts(const Conv& c, Index most, F f) {
  for (Index col = 0; col < c.out_channels; col += kPanel) {
    const Index width = panel_vecs(c.out_channels, col) * kLanes;
    const Index last = c.out_channels - col < width ? c.out_channels : col + width;
    for (Index j = col; j < last; j += most)
      f(Part{c.x, c.y, 0, c.out_width, c.b + col * c.taps * c.in_channels + (j - col), width, j,
             last - j < most ? last - j : most});
  }
}

// One block of images, row by row.
void sparse_block(const Conv& c, const float* x, float* y, Index block) {
  NonZeros values;
  alignas(64) float sums[kSparseFloats];
  for (Index lane = 0; lane < c.lanes; ++lane) {
    values.gather_from(x + lane, c.lanes, c.in_height * c.in_width, c.in_channels);
    for_parts(c, kSparseVecs * kLanes, [&](Part part) {
      part.y = y;
      part.block = block;
      const Index vecs = (part.count + kLanes - 1) / kLanes;
      with_count<kSparseVecs>(vecs, [&]<int Vecs>() {
        with_count<kSparseColumns>(c.tap_columns,
                                   [&]<int Columns>() { sparse_sums<Vecs, Columns>(c, part, values, sums); });
      });
      finish_sparse(c, part, lane, vecs, sums);
    });
  }
}

void conv(Stream, const Conv& c) {
  if (skips_zeros(c)) {
    for (Index row = 0; row < c.rows; row += c.lanes)
      sparse_block(c, c.x + row * c.ldx, c.y + row * c.ldy, row / c.lanes);
    return;
  }
  if (c.lanes != 1 && c.dense) {
    for_parts(c, kChannels / 2, [&](const Part& part) {
      with_count<kChannels / 2>(
          part.count, [&]<int Channels>() { dense_part<Channels>(c, part, (c.rows + c.lanes - 1) / c.lanes); });
    });
    return;
  }
  for (Index row = 0; row < c.rows; row += c.lanes) {
    const auto here = [&](Part part) {
      part.x += row * c.ldx;
      part.y += row * c.ldy;
      part.block = row / c.lanes;
      return part;
    };
    if (has_few_channels(c))
      for_parts(c, kPanel, [&](const Part& part) { few_channels_row(c, here(part)); });
    else if (c.lanes == 1)
      for_parts(c, kPanel, [&](const Part& part) {
        with_count<kTileVecs>(part.width / kLanes, [&]<int V>() { channels_part<V>(c, here(part)); });
      });
    else
      for_parts(c, kChannels, [&](const Part& part) {
        with_count<kChannels>(part.count, [&]<int Channels>() { rows_part<Channels>(c, here(part)); });
      });
  }
}

// The outputs of a part of one row.
void conv_of_part(const Conv& all, Index row, const Rectangle& r) {
  Conv c = all;
  c.out_height = r.bottom - r.top;
  c.out_width = r.right - r.left;
  c.down += r.top;
  c.across += r.left;
  for_parts(c, kPanel, [&](Part part) {
    part.line = all.out_width;
    part.x += row * c.ldx;
    part.y += row * c.ldy + (r.top * all.out_width + r.left) * c.out_channels;
    with_count<kTileVecs>(part.width / kLanes, [&]<int V>() { channels_part<V>(c, part); });
  });
}

void conv_region(Stream, const Conv& c, const Region* changed, Region* region) {
  for (Index row = 0; row < c.rows; ++row) {
    region[row] = readers_of(changed[row], c.down, c.out_height, c.across, c.out_width);
    for (const Rectangle& part : region[row].part)
      if (!is_empty(part)) conv_of_part(c, row, part);
  }
}

// ---- gradient of the weights ----

// Outputs [first, last) along an axis that have the tap at `offset` inside the image.
struct Range {
  Index first, last;
};
Range outputs_of(Index offset, Index stride, Index in, Index out) {
  const Index first = offset < 0 ? (-offset + stride - 1) / stride : 0;
  const Index last = in - offset > 0 ? (in - offset - 1) / stride + 1 : 0;
  return {first, last < out ? last : out};
}

// Rows of a block are seen by some tiles of weights before the next block's: together they stay in a cache.
constexpr Index kRowsAtOnce = 8, kTilesAtOnce = 4;

// Weights [q, q + Q) of one panel of output channels, all of one row of taps: chains over rows and outputs in order.
template <int Vecs, int Q>
struct GradientTile {
  const ConvGradient& g;
  const Index q, col, count;
  Vec acc[Q][Vecs];

  // A run of outputs from `to` on; of their inputs, those of tile columns [first, last) exist.
  EPSBALL_INLINE void add(const float* from, const float* to, Index outputs, Index first, Index last) {
    for (Index o = 0; o < outputs; ++o) {
      Vec d[Vecs];
#pragma GCC unroll 4
      for (int v = 0; v < Vecs; ++v)
        d[v] = v + 1 < Vecs ? load(to + v * kLanes) : load(to + v * kLanes, count - v * kLanes);
#pragma GCC unroll 8
      for (int i = 0; i < Q; ++i) {
        const float x = first <= i && i < last ? from[i] : 0.0f;
#pragma GCC unroll 4
        for (int v = 0; v < Vecs; ++v) acc[i][v] = mul_add(splat<Vec>(x), d[v], acc[i][v]);
      }
      from += g.stride_across * g.in_channels;
      to += g.out_channels;
    }
  }

  EPSBALL_INLINE void add_rows(Index first_row, Index last_row) {
    const Index row_of_taps = g.kernel_width * g.in_channels;
    const Index down = q / row_of_taps - g.padding_down, start = q % row_of_taps - g.padding_across * g.in_channels;
    const Index step = g.stride_across * g.in_channels, end = g.in_width * g.in_channels;
    // Columns [left, right) have all of the tile's inputs; those beside them, at the borders, some or none.
    Index left = 0, right = 0;
    while (left < g.out_width && start + left * step < 0) ++left;
    for (right = left; right < g.out_width && start + right * step + Q <= end;) ++right;
    const auto at_border = [&](const float* line, const float* to, Index column) {
      const Index at = start + column * step, first = at < 0 ? -at : 0, last = end - at < Q ? end - at : Q;
      if (first < last) add(line + at, to + column * g.out_channels, 1, first, last);
    };
    const Range outputs = outputs_of(down, g.stride_down, g.in_height, g.out_height);
    for (Index row = first_row; row < last_row; ++row)
      for (Index y = outputs.first; y < outputs.last; ++y) {
        const float* line = g.x + row * g.ldx + (y * g.stride_down + down) * end;
        const float* to = g.dy + row * g.ldy + y * g.out_width * g.out_channels + col;
        for (Index column = 0; column < left; ++column) at_border(line, to, column);
        add(line + start + left * step, to + left * g.out_channels, right - left, 0, Q);
        for (Index column = right; column < g.out_width; ++column) at_border(line, to, column);
      }
  }

  // Adds a block of rows to sums (Q, Vecs vectors); the last one leaves the weights' gradient.
  void run(Index first_row, Index last_row, float* sums) {
#pragma GCC unroll 8
    for (int i = 0; i < Q; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < Vecs; ++v) acc[i][v] = first_row == 0 ? Vec{} : load(sums + (i * Vecs + v) * kLanes);
    add_rows(first_row, last_row);
#pragma GCC unroll 8
    for (int i = 0; i < Q; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < Vecs; ++v) store(sums + (i * Vecs + v) * kLanes, acc[i][v]);
    if (last_row < g.rows) return;
    for (int i = 0; i < Q; ++i) {
      const Index tap = (q + i) / g.in_channels, channel = (q + i) % g.in_channels;
      float* const to = g.gradient + (col * g.in_channels + channel) * g.taps + tap;
      for (Index j = 0; j < count; ++j) to[j * g.in_channels * g.taps] = sums[i * Vecs * kLanes + j];
    }
  }
};

// One panel of output channels.
template <int Vecs>
void panel_gradient(const ConvGradient& g, Index col) {
  constexpr int kMost = Vecs > 2 ? 4 : 8;
  alignas(64) float sums[kTilesAtOnce][kMost * Vecs * kLanes];
  const Index count = g.out_channels - col < Vecs * kLanes ? g.out_channels - col : Vecs * kLanes;
  const Index row_of_taps = g.kernel_width * g.in_channels;
  for (Index first = g.first, last = first; first < g.last; first = last)
    for (Index row = 0; row < g.rows || row == 0; row += kRowsAtOnce) {
      const Index last_row = g.rows - row < kRowsAtOnce ? g.rows : row + kRowsAtOnce;
      last = first;
      for (Index tile = 0; tile < kTilesAtOnce && last < g.last; ++tile) {
        const Index q = last, row_end = (q / row_of_taps + 1) * row_of_taps, end = row_end < g.last ? row_end : g.last;
        last = q + kMost < end ? q + kMost : end;
        with_count<kMost>(last - q,
                          [&]<int Q>() { GradientTile<Vecs, Q>{g, q, col, count, {}}.run(row, last_row, sums[tile]); });
      }
    }
}

void conv_gradient(Stream, const ConvGradient& g) {
  for (Index col = 0; col < g.out_channels; col += kPanel)
    with_count<kTileVecs>(panel_vecs(g.out_channels, col), [&]<int V>() { panel_gradient<V>(g, col); });
}

}  // namespace

void add_conv(Kernels& k) {
  k.arrange = arrange;
  k.conv = conv;
  k.conv_region = conv_region;
  k.conv_gradient = conv_gradient;
}

}  // namespace epsball::EPSBALL_ISA
