// Convolutions of images, channels last, as tiled products whose left matrix is read from the images on the way;
// mirrors cpp/conv.cpp. Rows lie one by one: lanes is 1 on this table.
//
// An output is one chain of multiply-adds over the taps of its line and their channels, zeros standing for taps outside
// the image: which those are depends on the line alone, so a row's bits do not depend on the batch. At a lower
// precision both factors are rounded and the sum is left to tensor cores, where there are channels enough for their
// tiles.
#include "launch.cuh"

#include "elements.cuh"
#include "epilogue.cuh"
#include "fragments.cuh"
#include "slices.cuh"
#include "table.cuh"
#include "tile.cuh"

namespace epsball::cuda {
namespace {

// ---- kernels ----

__global__ void arrange_kernel(ArrangeRows a, const std::int32_t* active) {
  const Index inner = a.to_images ? a.channels : a.pixels, outer = a.to_images ? a.pixels : a.channels;
  for_elements(rows_now(a.rows, active), inner * outer, [&](Index r, Index i) {
    a.to[r * a.ld_to + i] = a.from[r * a.ld_from + i % inner * outer + i / inner];
  });
}

// Outputs of one image row whose columns lie `step` apart: they read the same tap rows, and tap columns
// [first, first + count) unless a border cuts some off.
struct Line {
  int row, column, step, columns;
  Taps down;
  int first, count;
};

__device__ __forceinline__ Index columns_of(const Conv& c, Index number, Index step) {
  return ceil_div(c.out_width - number % step, step);
}

// Every warp finds it for itself, all of its lanes together.
__device__ Line line_of(const Conv& c, Index number, Index step) {
  Line line;
  line.row = static_cast<int>(number / step), line.column = static_cast<int>(number % step);
  line.step = static_cast<int>(step);
  line.columns = static_cast<int>(columns_of(c, number, step));
  line.down = c.down[line.row];
  int before_first = -static_cast<int>(c.tap_columns), last = 0;
  for (int i = static_cast<int>(threadIdx.x % kWarpSize); i < line.columns; i += static_cast<int>(kWarpSize)) {
    const Taps t = c.across[line.column + i * line.step];
    if (t.count == 0) continue;
    before_first = -t.tap > before_first ? -t.tap : before_first;
    last = t.tap + t.count > last ? t.tap + t.count : last;
  }
  line.first = -warp_max(before_first);
  last = warp_max(last);
  line.count = last > line.first ? last - line.first : 0;
  return line;
}

// One output of a line: where it stands, and which part of the line's tap columns lies inside the image.
struct Output {
  Index row, x;  // x: the first input it reads
  int pixel, first, last;
};

__device__ Output output_of(const Conv& c, const Line& line, Index number) {
  Output o;
  o.row = number / line.columns;
  const int column = line.column + static_cast<int>(number % line.columns) * line.step;
  const Taps t = c.across[column];
  o.pixel = line.row * static_cast<int>(c.out_width) + column;
  o.x = o.row * c.ldx + (line.down.first * c.in_width + t.first) * c.in_channels;
  const int channels = static_cast<int>(c.in_channels);
  o.first = (t.tap - line.first) * channels;
  o.last = o.first + t.count * channels;
  return o;
}

// How a block, one of `blocks` on a multiprocessor, comes to its height x width sums: by a Tile's chains, or as
// fragments.
template <class Kind>
struct Sums {
  static constexpr int height = Kind::height, width = Kind::width, stride = width, blocks = 3;

  template <class LoadA, class LoadB>
  static __device__ __forceinline__ void of(Index k, LoadA load_a, LoadB load_b, float (&done)[height][stride]) {
    float sum[Kind::rows][Kind::columns] = {};
    const auto add = [](float s, float a, float b, int, int) { return mul_add(a, b, s); };
    tile_chains<Kind>(k, true, load_a, load_b, add, sum);
    share_tile<Kind>(sum, done);
  }
};

template <class Kind>
struct FragmentSums {
  static constexpr int height = kSide, width = kSide, stride = kSide + 4, blocks = 2;

  template <class LoadA, class LoadB>
  static __device__ __forceinline__ void of(Index k, LoadA load_a, LoadB load_b, float (&done)[height][stride]) {
    fragment_sums<Kind>(k, true, load_a, load_b, done);
  }
};
template <>
struct Sums<Tf32> : FragmentSums<Tf32> {};
template <>
struct Sums<Bf16> : FragmentSums<Bf16> {};

template <class Kind>
__global__ void __launch_bounds__(kTileThreads, Sums<Kind>::blocks)
    conv_kernel(Conv c, Index step, const std::int32_t* active) {
  constexpr int kHeight = Sums<Kind>::height, kWidth = Sums<Kind>::width;
  const Index lines = c.out_height * step, number = blockIdx.x % lines, from = blockIdx.x / lines * kHeight;
  const Index outputs = rows_now(c.rows, active) * columns_of(c, number, step);
  if (from >= outputs) return;  // the whole block, before it looks for its line: the rows may all have left
  const Line line = line_of(c, number, step);
  SHARED_ARRAY(Output, output, [kHeight]);
  for (int i = static_cast<int>(threadIdx.x); i < kHeight; i += kTileThreads)
    output[i] = from + i < outputs ? output_of(c, line, from + i) : Output{};
  barrier();

  const unsigned span = static_cast<unsigned>(line.count * c.in_channels);  // of the chain in each tap row
  const Index col = Index{blockIdx.y} * kWidth, ldb = packed_ld(c.out_channels), x_row = c.in_width * c.in_channels;
  const Index first_weight = (line.down.tap * c.tap_columns + line.first) * c.in_channels;
  SHARED_ARRAY(float, done, [kHeight][Sums<Kind>::stride]);
  Sums<Kind>::of(
      Index{line.down.count} * span,
      [&](int i, Index p) {
        const Output& o = output[i];
        const int y = static_cast<int>(static_cast<unsigned>(p) / span), q = static_cast<int>(p - Index{y} * span);
        return q >= o.first && q < o.last ? c.x[o.x + y * x_row + (q - o.first)] : 0.0f;
      },
      [&](Index p, int j) {
        const Index y = static_cast<unsigned>(p) / span, q = p - y * span;
        const Index weight = first_weight + y * c.tap_columns * c.in_channels + q;
        return col + j < c.out_channels ? c.b[weight * ldb + col + j] : 0.0f;
      },
      done);
  for (int e = static_cast<int>(threadIdx.x); e < kHeight * kWidth; e += kTileThreads) {
    const int i = e / kWidth, j = e % kWidth;
    if (from + i >= outputs || col + j >= c.out_channels) continue;
    const Index at = output[i].pixel * c.out_channels + col + j;
    finish(c.epilogue, c.y, c.ldy, output[i].row, at, col + j, done[i][j]);
  }
}

// Outputs [first, last) along an axis that have the tap at `offset` inside the image.
struct Range {
  Index first, last;
};
__device__ Range outputs_of(Index offset, Index stride, Index in, Index out) {
  const Index first = offset < 0 ? ceil_div(-offset, stride) : 0;
  const Index last = in - offset > 0 ? (in - offset - 1) / stride + 1 : 0;
  return {first, last < out ? last : out};
}

// A block per weight q of 32 output channels; its slices take turns with the rows of outputs.
__global__ void gradient_kernel(ConvGradient g, const std::int32_t* active) {
  const Index q = g.first + blockIdx.x, o = Index{blockIdx.y} * kWarpSize + threadIdx.x, tap = q / g.in_channels;
  const Index down = tap / g.kernel_width - g.padding_down, across = tap % g.kernel_width - g.padding_across;
  const Range rows = outputs_of(down, g.stride_down, g.in_height, g.out_height);
  const Range columns = outputs_of(across, g.stride_across, g.in_width, g.out_width);
  const Index each = rows.last > rows.first ? rows.last - rows.first : 0;
  float sum = 0.0f;
  if (o < g.out_channels)
    for_slice(rows_now(g.rows, active) * each, [&](Index line) {
      const Index row = line / each, oy = rows.first + line % each;
      const Index y = oy * g.stride_down + down, x = columns.first * g.stride_across + across;
      const float* from = g.x + row * g.ldx + (y * g.in_width + x) * g.in_channels + q % g.in_channels;
      const float* to = g.dy + row * g.ldy + (oy * g.out_width + columns.first) * g.out_channels + o;
      for (Index ox = columns.first; ox < columns.last; ++ox) {
        sum = mul_add(*from, *to, sum);
        from += g.stride_across * g.in_channels;
        to += g.out_channels;
      }
    });
  sum = sum_slices(sum);
  if (threadIdx.y == 0 && o < g.out_channels) g.gradient[(o * g.in_channels + q % g.in_channels) * g.taps + tap] = sum;
}

// ---- what the table calls ----

void arrange(Stream stream, const ArrangeRows& a) {
  const DeviceStream s = device_stream(stream);
  launch(arrange_kernel, elements_grid(a.rows, a.channels * a.pixels), elements_block(), 0, s, a, s.active);
}

template <class Kind>
void conv_by(const DeviceStream& s, const Conv& c) {
  // where every weight serves one output only, no two columns share theirs
  const Index apart = c.dense ? c.out_width : c.column_step, step = apart < c.out_width ? apart : c.out_width;
  if (c.rows == 0 || step == 0) return;
  const Index tiles = ceil_div<Index>(c.rows * ceil_div(c.out_width, step), Sums<Kind>::height);
  const dim3 grid(static_cast<unsigned>(tiles * c.out_height * step),
                  static_cast<unsigned>(ceil_div<Index>(c.out_channels, Sums<Kind>::width)));
  launch(conv_kernel<Kind>, grid, dim3(kTileThreads), 0, s, c, step, s.active);
}

void conv(Stream stream, const Conv& c) {
  const DeviceStream s = device_stream(stream);
  if (c.out_channels <= ThinTile::width)
    conv_by<ThinTile>(s, c);
  else if (c.out_channels <= SlimTile::width)
    conv_by<SlimTile>(s, c);
  else
    conv_by<WideTile>(s, c);
}

// A tile of fragments would be empty but for a few of its columns.
template <class P>
void tensor_conv(Stream stream, const Conv& c) {
  if (c.out_channels <= SlimTile::width) return conv(stream, c);
  conv_by<P>(device_stream(stream), c);
}

void conv_gradient(Stream stream, const ConvGradient& g) {
  const DeviceStream s = device_stream(stream);
  const dim3 grid(static_cast<unsigned>(g.last - g.first),
                  static_cast<unsigned>(ceil_div<Index>(g.out_channels, kWarpSize)));
  launch(gradient_kernel, grid, slices_block(), 0, s, g, s.active);
}

}  // namespace

void add_conv(Kernels& k, Precision precision) {
  k.arrange = arrange;
  k.conv = precision == Precision::tf32 ? tensor_conv<Tf32> : precision == Precision::bf16 ? tensor_conv<Bf16> : conv;
  k.conv_gradient = conv_gradient;
}

}  // namespace epsball::cuda
