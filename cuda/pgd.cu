// A whole run of L-infinity PGD on a model of linear layers in one launch: a block keeps kTileRows rows and all that a
// step makes of them in shared memory, and streams the weights past them, forward and backward, step after step.
//
// Every value is the chain of multiply-adds that gemm and dots make of it (gemm.cu), and what is decided per row is
// decided by the same functions, so that a run has the bits of its steps one by one. A row that is solved is left alone
// by its block, where rows one by one leave the slab.
#include "launch.cuh"

#include "activation.h"
#include "attacks/pgd_rows.h"
#include "loss.cuh"
#include "sign_step.cuh"
#include "table.cuh"
#include "tile.cuh"

namespace epsball::cuda {
namespace {

constexpr int kRows = 8;  // of a block: a weight is read once for all of them
constexpr int kThreads = kRows * kWarpSize;
constexpr int kAhead = 8;  // weights on their way at a time
// Every block streams all weights: of more blocks the L2 cache has more to read than steps by tiles of 64 rows need.
constexpr Index kMostRows = 64 * kRows;
constexpr Index kMostShared = 96 * 1024;  // bytes that every GPU from sm_80 on gives a block

// A feature or a unit of all rows.
struct alignas(4 * kRows) Values {
  float row[kRows];
};

// What a block keeps, in this order.
struct Kept {
  Values* x;         // (features)
  Values* out;       // of every layer, one after another
  Values* gradient;  // (widest), of the layer that backward has come to
  Values* spare;     // the same, of the layer below
  float* logits;     // (kRows, classes)
  float* dlogits;
};

struct Room {
  Index features = 0, outs = 0, widest = 0, classes = 0;

  __host__ __device__ explicit Room(const DenseModel& m) : features(m.layer[0].in), classes(m.layer[m.count - 1].out) {
    for (int i = 0; i < m.count; ++i) {
      outs += m.layer[i].out;
      widest = m.layer[i].out > widest ? m.layer[i].out : widest;
    }
  }
  __host__ __device__ Index bytes() const {
    const Index values = features + outs + 2 * widest, floats = 2 * kRows * classes;
    return values * static_cast<Index>(sizeof(Values)) + floats * static_cast<Index>(sizeof(float));
  }
  __device__ Kept cut(Values* from) const {
    Kept k;
    k.x = from;
    k.out = k.x + features;
    k.gradient = k.out + outs;
    k.spare = k.gradient + widest;
    k.logits = reinterpret_cast<float*>(k.spare + widest);
    k.dlogits = k.logits + kRows * classes;
    return k;
  }
};

// sum(r) = the chain over p < k of a(p, r) b(p), b being a column of a packed matrix.
__device__ __forceinline__ void column_chains(Index k, const Values* a, const float* b, Index ldb,
                                              float (&sum)[kRows]) {
  const auto add = [&](Index p, float weight) {
    const Values v = a[p];
    EPSBALL_UNROLL
    for (int r = 0; r < kRows; ++r) sum[r] = mul_add(v.row[r], weight, sum[r]);
  };
  Index p = 0;
  for (; p + kAhead <= k; p += kAhead) {
    float weight[kAhead];
    EPSBALL_UNROLL
    for (int i = 0; i < kAhead; ++i) weight[i] = b[(p + i) * ldb];
    EPSBALL_UNROLL
    for (int i = 0; i < kAhead; ++i) add(p + i, weight[i]);
  }
  for (; p < k; ++p) add(p, b[p * ldb]);
}

__device__ __forceinline__ float layer_output(const DenseLayer& l, Index j, float sum) {
  sum = sum + 0.0f;  // no -0, as in epilogue.cuh
  if (l.bias) sum = sum + l.bias[j];
  return activate(l.activation, sum);
}

// As gemm has it: a thread per column.
__device__ void forward_columns(const DenseLayer& l, const Values* in, Values* out) {
  for (Index j = threadIdx.x; j < l.out; j += kThreads) {
    float sum[kRows] = {};
    column_chains(l.in, in, l.forward + j, packed_ld(l.out), sum);
    EPSBALL_UNROLL
    for (int r = 0; r < kRows; ++r) out[j].row[r] = layer_output(l, j, sum[r]);
  }
}

// As dots has it: a warp per row, whose lanes run along k.
__device__ void forward_dots(const DenseLayer& l, const Values* in, Values* out) {
  const int row = static_cast<int>(threadIdx.x) / kWarpSize;
  const Index lane = threadIdx.x % kWarpSize, ldb = packed_ld(l.in);
  float sum[kNarrow] = {};
  for (Index p = lane; p < l.in; p += kWarpSize) {
    const float a = in[p].row[row];
    EPSBALL_UNROLL
    for (int j = 0; j < kNarrow; ++j)
      if (j < l.out) sum[j] = mul_add(a, l.backward[j * ldb + p], sum[j]);
  }
  float mine = 0.0f;  // the sum of output `lane`
  EPSBALL_UNROLL
  for (int j = 0; j < kNarrow; ++j) {
    const float total = warp_sum(sum[j]);
    if (lane == j) mine = total;
  }
  if (lane < l.out) out[lane].row[row] = layer_output(l, lane, mine);
}

__device__ void forward(const DenseModel& m, const Kept& k) {
  const Values* in = k.x;
  Values* out = k.out;
  for (int i = 0; i < m.count; ++i) {
    m.layer[i].forward ? forward_columns(m.layer[i], in, out) : forward_dots(m.layer[i], in, out);
    barrier();
    in = out;
    out += m.layer[i].out;
  }
}

// The same arguments for a block's rows, counted from 0.
__device__ LossRows loss_of_tile(const PgdRows& a, const Kept& k, Index first, bool gradient) {
  LossRows l = a.loss;
  l.logits = k.logits;
  l.ld = l.dlogits_ld = l.classes;
  l.dlogits = gradient ? k.dlogits : nullptr;
  if (l.labels) l.labels += first;
  if (l.rivals) l.rivals += first;
  l.targets += first * l.targets_ld;
  l.loss += first;
  l.predicted += first;
  return l;
}

__device__ TrackBest best_of_step(const PgdRows& a, int step) {
  TrackBest t = a.best;
  t.fresh = !a.step.best || a.column + step == 0;
  t.stepped = a.column + step > 0;
  t.evaluations = (a.step.best ? 1 : a.steps + 1) + (step == 0 ? a.before : 0);
  if (t.trace) t.trace += step;
  return t;
}

// Loss, prediction and what becomes of the best point, in the row's own thread; leaves the gradient of the last layer's
// sums where backward begins.
__device__ void judge(const PgdRows& a, const Kept& k, Index first, int r, int step, bool last) {
  const DenseLayer& top = a.model.layer[a.model.count - 1];
  const Values* out = k.gradient - top.out;
  for (Index j = 0; j < top.out; ++j) k.logits[r * top.out + j] = out[j].row[r];
  loss_of_row(loss_of_tile(a, k, first, !last), r);
  if (a.step.best || last) track_best_row(best_of_step(a, step), first + r);
  if (last) return;
  for (Index j = 0; j < top.out; ++j) {
    float d = k.dlogits[r * top.out + j];
    if (top.activation.kind != Activation::identity) d *= derivative(top.activation, out[j].row[r]);
    k.gradient[j].row[r] = d;
  }
}

// From the gradient of the last layer's sums to that of the first's, and returns where it is.
__device__ const Values* backward(const DenseModel& m, const Kept& k) {
  Values *from = k.gradient, *to = k.spare;
  const Values* saved = k.gradient - m.layer[m.count - 1].out;  // of the layer below
  for (int i = m.count - 1; i > 0; --i) {
    const DenseLayer &l = m.layer[i], &below = m.layer[i - 1];
    saved -= l.in;
    for (Index j = threadIdx.x; j < l.in; j += kThreads) {
      float sum[kRows] = {};
      column_chains(l.out, from, l.backward + j, packed_ld(l.in), sum);
      EPSBALL_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const float d = sum[r] + 0.0f;
        const bool bare = below.activation.kind == Activation::identity;
        to[j].row[r] = bare ? d : d * derivative(below.activation, saved[j].row[r]);
      }
    }
    barrier();
    Values* const used = from;
    from = to;
    to = used;
  }
  return from;
}

// x takes its step for the rows of `alive`; bit r of what comes back: a gradient of row r that this thread has seen was
// not 0.
__device__ std::uint32_t step_rows(const PgdRows& a, const Kept& k, const Values* gradient, Index first,
                                   std::uint32_t alive) {
  const DenseLayer& bottom = a.model.layer[0];
  std::uint32_t moves = 0;
  for (Index j = threadIdx.x; j < bottom.in; j += kThreads) {
    float sum[kRows] = {};
    column_chains(bottom.out, gradient, bottom.backward + j, packed_ld(bottom.in), sum);
    EPSBALL_UNROLL
    for (int r = 0; r < kRows; ++r) {
      if (!(alive >> r & 1)) continue;
      if (take_step(a.step, first + r, j, sum[r])) moves |= 1u << r;
      k.x[j].row[r] = a.step.x[(first + r) * a.step.ld + j];
    }
  }
  return moves;
}

__device__ void keep_last(const PgdRows& a, const Kept& k, Index first, std::uint32_t alive) {
  const SignStep& s = a.step;
  if (!s.best) return;
  for (int r = 0; r < kRows; ++r)
    if ((alive >> r & 1) && s.improved[first + r])
      for (Index j = threadIdx.x; j < a.model.layer[0].in; j += kThreads)
        s.best[s.slot[first + r] * s.ld + j] = k.x[j].row[r];
}

// ---- kernels ----

__global__ void __launch_bounds__(kThreads, 2) pgd_kernel(PgdRows a, const std::int32_t* active) {
  const Index rows = rows_now(a.rows, active), first = Index{blockIdx.x} * kRows;
  if (first >= rows) return;  // the whole block
  const int count = static_cast<int>(rows - first < kRows ? rows - first : kRows), thread = threadIdx.x;
  DYN_SHARED(Values, shared);
  SHARED_ARRAY(std::uint32_t, moved, [1]);
  SHARED_ARRAY(std::uint32_t, still_attacked, [1]);
  const Kept k = Room(a.model).cut(shared);
  for (Index j = thread; j < a.model.layer[0].in; j += kThreads)
    for (int r = 0; r < kRows; ++r) k.x[j].row[r] = r < count ? a.step.x[(first + r) * a.step.ld + j] : 0.0f;
  if (thread == 0) moved[0] = 0;
  barrier();
  std::uint32_t alive = (1u << count) - 1;
  const int iterates = a.judge ? a.steps + 1 : a.steps;
  for (int step = 0; step < iterates && alive; ++step) {
    const bool last = step == a.steps;
    forward(a.model, k);
    if (thread < count && (alive >> thread & 1)) judge(a, k, first, thread, step, last);
    barrier();
    if (last) {
      keep_last(a, k, first, alive);
      break;
    }
    const std::uint32_t moves = step_rows(a, k, backward(a.model, k), first, alive);
    for (int r = 0; r < kRows; ++r)
      if (any(moves >> r & 1) && thread % kWarpSize == 0) atomic_or(&moved[0], 1u << r);
    barrier();
    if (thread < kWarpSize) {  // the whole warp
      const bool mine = thread < count && (alive >> thread & 1);
      if (mine && (moved[0] >> thread & 1)) a.step.moving[first + thread] = 1;
      const std::uint32_t left = ballot(mine && !(a.early_stop && a.best.done[first + thread]));
      warp_barrier();  // all have read
      if (thread == 0) still_attacked[0] = left, moved[0] = 0;
    }
    barrier();
    alive = still_attacked[0];
  }
}

// ---- what the table calls ----

bool pgd(Stream stream, const PgdRows& a) {
  const Index bytes = Room(a.model).bytes();
  if (a.rows > kMostRows || bytes > kMostShared) return false;
  const DeviceStream s = device_stream(stream);
  const dim3 grid(static_cast<unsigned>(ceil_div<Index>(a.rows, kRows)));
  launch(pgd_kernel, grid, dim3(kThreads), static_cast<std::size_t>(bytes), s, a, s.active);
  return true;
}

}  // namespace

void add_pgd(Kernels& k) { k.pgd = pgd; }

}  // namespace epsball::cuda
