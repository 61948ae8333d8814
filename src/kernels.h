// The contract: a CPU instruction set and a GPU are the same thing, a filled table of these functions.
//
// All matrices are row-major float32 with a row stride `ld`.
// No function allocates, locks or throws. A row's result depends on that row alone, never on how many come with it.
#pragma once

#include "array.h"

namespace epsball {

// ---- element-wise activations ----

enum class Activation : int { identity, relu, leaky_relu, elu, sigmoid, tanh, softplus, gelu, quadratic, exp, power };

struct ActivationSpec {
  Activation kind = Activation::identity;
  float parameter = 0.0f;  // slope of leaky_relu, alpha of elu, degree of power
};

// Most derivatives follow from the output; these need the input, so the plan keeps it.
inline constexpr bool derivative_needs_input(Activation a) {
  return a == Activation::gelu || a == Activation::quadratic || a == Activation::power;
}

// ---- matrix product ----

// x <- clip(x + size * sign(gradient), lo, hi): the L-infinity attack step as the end of a product, so that the
// gradient is never stored. lo and hi hold ball, box and mask at once (see Kernels::limits).
struct SignStep {
  float* x = nullptr;
  const float* lo = nullptr;
  const float* hi = nullptr;
  Index ld = 0;
  const float* size = nullptr;     // (rows)
  std::uint8_t* moving = nullptr;  // (rows), set to 1 where any gradient element is not 0
  // Where the row being left is the best so far, it is kept on the way: best[slot[i]] = x[i] if improved[i].
  float* best = nullptr;
  const std::uint8_t* improved = nullptr;
  const std::int32_t* slot = nullptr;
};

// What happens to an output tile before it is stored, in this order; null means left out.
struct Epilogue {
  const float* bias = nullptr;  // (n)
  ActivationSpec activation;
  float* pre_activation = nullptr;  // (m, n) with c's stride: kept where the derivative needs the input
  ActivationSpec derivative;        // multiply by f'(saved): the activation below, when a gradient flows down
  const float* saved = nullptr;
  Index saved_ld = 0;
  const SignStep* step = nullptr;  // replaces the store
};

// C (m, n) = A (m, k) B (k, n). Every output is the same chain of fused multiply-adds, whatever m.
struct Gemm {
  Index m = 0, n = 0, k = 0;
  const float* a = nullptr;  // A(i, p) = a[i * a_row + p * a_k]
  Index a_row = 0, a_k = 1;
  const float* b = nullptr;   // packed by Kernels::pack
  Index first = 0, last = 0;  // columns to compute; first is a multiple of Kernels::panel
  float* c = nullptr;
  Index ldc = 0;
  Epilogue epilogue;
};

// B (k, n) from weights as their parameter holds them, into panels of columns: k * padded(n) floats, of which columns
// [first, last) are written. Rows of B come `taps` from neighbouring weights: B(place(t) * members + m, j) =
// b[t + m * member_stride + j * n_stride].
struct Pack {
  Index n = 0;
  Index taps = 1, members = 1;  // k is their product
  const float* b = nullptr;
  const Index* place = nullptr;  // (taps); null: in order
  Index member_stride = 0, n_stride = 0;
  Index first = 0, last = 0;  // first is a multiple of Kernels::panel
  float* packed = nullptr;
};

// ---- images ----

// Rows of images, channels first, from or to blocks of `lanes` rows, channels last (see Images in layers/layer.h);
// lanes that no row fills become 0.
struct ArrangeRows {
  Index rows = 0, lanes = 1, channels = 1, pixels = 1;
  const float* from = nullptr;
  Index ld_from = 0;  // of a row; a block is `lanes` times that
  float* to = nullptr;
  Index ld_to = 0;
  bool to_images = true;
};

// What one row or column of outputs reads: `count` neighbouring rows or columns of the input from `first` on, with the
// weights of as many neighbouring taps from `tap` on.
struct Taps {
  std::int32_t first = 0, count = 0, tap = 0;
};

// Y = conv(X): every output is one chain of fused multiply-adds over (tap row, tap column, input channel), the weights
// being a packed matrix of (tap_rows * tap_columns * in_channels) x out_channels. With other taps it is the backward
// pass, which so needs no scatter, whatever stride and padding.
struct Conv {
  Index rows = 0, lanes = 1;  // lanes: 1, or those of the table
  Index in_height = 0, in_width = 0, in_channels = 0;
  Index out_height = 0, out_width = 0, out_channels = 0;
  Index tap_columns = 0, taps = 0;  // of the whole kernel; all of its tap rows times columns
  bool dense = false;               // every weight serves one output only
  bool sparse = false;              // x is mostly zeros: a table may skip them if the epilogue is none or a derivative
  Index row_step = 1;
  Index column_step = 1;         // outputs so far apart share their taps but for the borders: the stride, backward
  const Taps* down = nullptr;    // (out_height)
  const Taps* across = nullptr;  // (out_width)
  const float* x = nullptr;
  Index ldx = 0;
  const float* b = nullptr;
  float* y = nullptr;
  Index ldy = 0;
  Epilogue epilogue;  // without step
};

// A rectangle of an image's pixels: rows [top, bottom), columns [left, right); empty where nothing is in it.
struct Rectangle {
  std::int32_t top = 0, left = 0, bottom = 0, right = 0;
};

// A part of an image's pixels: two rectangles, which may overlap or be empty.
struct Region {
  Rectangle part[2];
};

// Where x and y differ, row by row: region(i) holds all such pixels, in whatever channel.
struct ChangedRegions {
  Index rows = 0, channels = 1, height = 1, width = 1;
  const float* x = nullptr;  // (rows, channels, height, width)
  const float* y = nullptr;
  Index ld = 0;              // of both
  Region* region = nullptr;  // (rows)
};

// Images, channels last, of which a region has been computed anew: it becomes what is kept where `keep`, and what is
// kept comes back where not.
struct SettleRegions {
  Index rows = 0, width = 0, channels = 0;
  const Region* region = nullptr;      // (rows)
  const std::uint8_t* keep = nullptr;  // (rows)
  float* x = nullptr;
  float* kept = nullptr;
  Index ld = 0;  // of both
};

// Gradient of a convolution's weights, (out_channels, in_channels, taps), over images with lanes = 1: those of which
// tap * in_channels + channel is in [first, last).
struct ConvGradient {
  Index rows = 0;
  Index in_width = 0, in_height = 0, in_channels = 0;
  Index out_height = 0, out_width = 0, out_channels = 0;
  Index kernel_width = 0, taps = 0;
  Index stride_down = 1, stride_across = 1, padding_down = 0, padding_across = 0;
  const float* x = nullptr;
  Index ldx = 0;
  const float* dy = nullptr;
  Index ldy = 0;
  Index first = 0, last = 0;
  float* gradient = nullptr;
};

// Values of images, channels last, one after another by row and pixel.
struct Channels {
  Index rows = 0, pixels = 1, channels = 0;
  const float* x = nullptr;
  Index ldx = 0;
};

// y = (x - center) * scale + shift + add * add_scale per channel, then the activation; null pointers: 0 for center and
// shift, no add. Rows are blocks where lanes > 1.
struct ScaleChannels {
  Index rows = 0, lanes = 1, pixels = 1, channels = 0;
  const float* x = nullptr;
  Index ldx = 0;
  const float* center = nullptr;
  const float* scale = nullptr;
  const float* shift = nullptr;
  const float* add = nullptr;
  Index ld_add = 0;
  const float* add_scale = nullptr;
  float* y = nullptr;
  Index ldy = 0;
  ActivationSpec activation;
  float* pre_activation = nullptr;  // with y's stride
};

enum class PoolKind : int { max, average };

// Of images, channels last; blocks of rows count as rows of lanes times the channels. Outside the image there is
// nothing for a maximum, and zeros for an average.
struct Pool {
  PoolKind kind = PoolKind::max;
  Index rows = 0;
  Index in_height = 0, in_width = 0, out_height = 0, out_width = 0, channels = 0;
  Index taps = 1;                // of a whole window
  bool tiled = false;            // every input lies in one window
  const Taps* down = nullptr;    // (out_height)
  const Taps* across = nullptr;  // (out_width)
  const float* x = nullptr;
  Index ldx = 0;
  float* y = nullptr;  // read by backward
  Index ldy = 0;
  const float* dy = nullptr;
  Index lddy = 0;
  float* dx = nullptr;
  Index lddx = 0;
  ActivationSpec derivative;  // of the layer below, whose output is x, where windows tile the input
};

// Products of at most this many columns are done as dot products.
inline constexpr Index kNarrow = 16;

// ---- distances ----

// Y (rows, units) = -sum_p (scale(j, p) (x(i, p) - centre(j, p)))^2, summed as it stands: the error is relative to the
// distance, however far from the origin x and the centres lie.
struct RbfRows {
  Index rows = 0, features = 0, units = 0;
  bool diagonal = false;  // scale is packed like centre; if not, it is (units): one for all features
  const float* x = nullptr;
  Index ldx = 0;
  const float* centre = nullptr;  // packed: forward (features, units), backward (units, features)
  const float* scale = nullptr;
  Index first = 0, last = 0;  // units, backward features, to compute; first is a multiple of Kernels::panel
  float* y = nullptr;         // forward
  Index ldy = 0;
  const float* dy = nullptr;  // backward: dX = dY . dY/dX
  Index lddy = 0;
  float* dx = nullptr;
  Index lddx = 0;
};

// Gradients of centres (units, features) and scale (units, features) or (units), rows [first, last) of them, over a
// batch.
struct RbfGradient {
  Index rows = 0, features = 0, units = 0;
  bool diagonal = false;
  const float* x = nullptr;
  Index ldx = 0;
  const float* dy = nullptr;
  Index lddy = 0;
  const float* centre = nullptr;  // both as for the backward pass
  const float* scale = nullptr;
  Index first = 0, last = 0;
  float* dcentre = nullptr;
  float* dscale = nullptr;
};

// ---- maxima of pieces, votes of pairs ----

// y(u) = max_p x(p * units + u).
struct MaxoutRows {
  Index rows = 0, units = 0, pieces = 0;
  const float* x = nullptr;
  Index ldx = 0;
  float* y = nullptr;  // read by backward
  Index ldy = 0;
  const float* dy = nullptr;
  Index lddy = 0;
  float* dx = nullptr;
  Index lddx = 0;
};

// Scores of classes from a decision for every pair (0, 1), (0, 2), ..., (1, 2), ..., positive for the first of the two:
// y(i) = votes + s / (3 (|s| + 1)), s being the sum of the decisions for i. The gradient is that of the second term.
struct OneVsOneRows {
  Index rows = 0, classes = 0;
  const float* x = nullptr;  // (rows, classes (classes - 1) / 2)
  Index ldx = 0;
  float* y = nullptr;  // forward
  Index ldy = 0;
  const float* dy = nullptr;  // backward
  Index lddy = 0;
  float* dx = nullptr;
  Index lddx = 0;
};

// ---- losses ----

enum class Loss : int {
  cross_entropy,
  margin,
  squared_error,
  confidence,
  hinge,
  crammer_singer,
  logit,
  dlr,           // three classes or more
  dlr_targeted,  // four or more, and LossRows::rivals
  jitter         // LossRows::noise and stretch
};

struct LossRows {
  Loss kind = Loss::cross_entropy;
  Index rows = 0, classes = 0;  // one class: a logistic model, logit > 0 means label 1
  const float* logits = nullptr;
  Index ld = 0;
  const std::int32_t* labels = nullptr;  // (rows), or null and then
  const float* targets = nullptr;        // (rows, classes) with stride targets_ld
  Index targets_ld = 0;
  const std::int32_t* rivals = nullptr;  // (rows): the class that dlr_targeted compares with the label
  const float* noise = nullptr;  // (rows, classes) with stride noise_ld, added to jitter's probabilities; or null
  Index noise_ld = 0;
  float noise_size = 0.0f;         // multiplies it
  float stretch = 10.0f;           // the largest |logit| after jitter has brought them to one scale
  float scale = 1.0f;              // multiplies dlogits; -1 descends towards a target
  float sharpness = 1.0f;          // multiplies the logits: 1 / temperature
  const float* weights = nullptr;  // (rows) that multiply loss and dlogits; null: 1
  bool unit = false;  // rescale each row of dlogits to a largest magnitude of 1: attacks only need its direction, and
                      // so it cannot underflow however confident the model is
  float* log_size = nullptr;          // (rows): log of what `unit` divides dlogits by, but for a constant; or null
  float* loss = nullptr;              // (rows)
  std::int32_t* predicted = nullptr;  // (rows)
  float* dlogits = nullptr;           // (rows, classes) with stride dlogits_ld, or null
  Index dlogits_ld = 0;
};

// What two passes of the same rows add to their losses. p and q are the softmax of logits a and b (one class:
// sigmoids).
enum class PairLoss : int {
  none,
  squared_distance,  // sum (a - b)^2 (ALP, CLP)
  squared_size,      // sum a^2 (logit squeezing); there is no b
  kl,                // KL(p || q) (TRADES)
  kl_constant,       // the same with p held constant (VAT)
  mart,              // -log q_y - log(1 - max_{k != y} q_k) + coupling (1 - p_y) KL(p || q) (MART)
  worst_case,        // the largest cross-entropy of logits within a - b and a + b (interval bound propagation)
};

struct PairRows {
  PairLoss kind = PairLoss::none;
  Index rows = 0, classes = 0;
  const float* a = nullptr;
  const float* b = nullptr;
  Index ld = 0;
  const std::int32_t* labels = nullptr;  // (rows), MART and the worst case only
  float coupling = 1.0f;                 // MART only
  float scale = 1.0f;                    // multiplies the gradients
  float* loss = nullptr;                 // (rows)
  float* da = nullptr;                   // (rows, classes) with stride d_ld: the gradients are added
  float* db = nullptr;
  Index d_ld = 0;
};

// ---- attack steps, projections, random starts ----

// Box of the attack per row and feature: box, mask and, for L-infinity, the ball.
struct Limits {
  Index rows = 0, features = 0;
  const float* x0 = nullptr;
  Index ld = 0;
  const float* eps = nullptr;          // (rows); null: box and mask only
  const float* box_lo = nullptr;       // (features)
  const float* box_hi = nullptr;       // (features)
  const std::uint8_t* mask = nullptr;  // 1 where the attacker may change a feature; null: everywhere
  Index mask_ld = 0;                   // 0: one mask for all rows
  float* lo = nullptr;                 // (rows, features) with stride ld
  float* hi = nullptr;
};

// Rows of an attack: x starts or moves within norm ball around x0 and [lo, hi].
struct BallRows {
  Norm norm = Norm::linf;
  Index rows = 0, features = 0;
  float* x = nullptr;
  const float* x0 = nullptr;
  const float* lo = nullptr;
  const float* hi = nullptr;
  Index ld = 0;
  const float* eps = nullptr;  // (rows)
};

struct StepRows {
  BallRows ball;
  const float* gradient = nullptr;
  Index gradient_ld = 0;
  const float* size = nullptr;     // (rows): x moves by the d that maximises gradient . d over ||d|| <= size
  std::uint8_t* moving = nullptr;  // (rows), set to 1 where any gradient element is not 0; may be null
  // (rows), L1 only (SLIDE): the `top` features of largest |gradient|, and ties, share the step equally; null: the
  // features of largest |gradient| are filled first.
  const float* top = nullptr;
};

// Uniform in the ball; eps times random signs (R+FGSM); uniform on the ball's surface (L-infinity: uniform in the cube,
// then scaled to its surface); Gaussian of norm eps on average, brought into the ball; features that leap to the ends
// of their limits, a random part of them; eps times standard normals, within the box alone; uniform in the box alone.
enum class Start : int { ball, signs, sphere, gaussian, salt_and_pepper, normal, box };

struct StartRows {
  BallRows ball;
  Start kind = Start::ball;
  const Index* ids = nullptr;  // (rows): the row's own number keys its random stream
  std::uint64_t seed = 0;
  std::uint32_t restart = 0;
};

// ---- rows as vectors ----

// out(i) = ||x(i) - y(i)||, summed in float64; null y: ||x(i)||.
struct RowNorms {
  Norm norm = Norm::l2;
  Index rows = 0, features = 0;
  const float* x = nullptr;
  const float* y = nullptr;
  Index ld = 0;
  float* out = nullptr;       // (rows)
  const float* lo = nullptr;  // with stride ld; if given, only features that can move (lo < hi) count
  const float* hi = nullptr;
};

// One summand of a combination: times * by(i) * x(i) / over(i).
struct Term {
  const float* x = nullptr;
  Index ld = 0;
  const float* by = nullptr;  // (rows), null: 1
  float times = 1.0f;
  const float* over = nullptr;  // (rows): divides, and where it is 0 the summand is left out; null: 1
};

// out(i) = clip(sum of terms, lo(i), hi(i)), as one chain of fused multiply-adds.
struct CombineRows {
  Index rows = 0, features = 0;
  int count = 0;
  Term terms[4];
  const float* lo = nullptr;  // with stride ld_limits, null: no clip
  const float* hi = nullptr;
  Index ld_limits = 0;
  float* out = nullptr;  // may be one of the terms
  Index ld = 0;
};

// ---- rows in and out of a slab ----

struct StoreRows {
  Norm norm = Norm::linf;
  Index rows = 0, features = 0;
  const float* y = nullptr;  // (rows, features) adversarial points in the slab
  Index ld = 0;
  Array x;                         // the caller's inputs
  Array out;                       // the caller's result, same dtype
  Index first = 0;                 // row of x and out that slab row 0 is
  const double* eps = nullptr;     // (x.rows): the bound that must hold exactly in the caller's dtype
  const double* box_lo = nullptr;  // (features), null: no box
  const double* box_hi = nullptr;
  double* distance = nullptr;  // (x.rows), may be null
  bool outward = false;        // round away from x, as far as the box lets it: a nearest point must not fall back
};

// One array of a slab that shrinks when rows leave.
struct RowBuffer {
  void* data = nullptr;
  Index bytes = 0;  // of one row
};

enum class Noise : int { normal, signs, uniform };  // uniform in [-1, 1)

// Random vectors: out(i) is drawn by counter from the row's id, the seed and the draw, of which 24 bits count.
struct NoiseRows {
  Noise kind = Noise::normal;
  Index rows = 0, features = 0;
  const Index* ids = nullptr;  // (rows)
  std::uint64_t seed = 0;
  const std::uint32_t* draw = nullptr;  // (1), below 2^24
  float* out = nullptr;
  Index ld = 0;
  std::uint32_t more = 0;  // added to the draw
};

struct TrackBest;          // src/attacks/track_best.h
struct PgdRows;            // src/attacks/pgd_rows.h
struct LinearStep;         // the same
struct ApgdRows;           // src/attacks/apgd_row.h
struct SquareRows;         // src/attacks/square_row.h
struct MixRows;            // src/attacks/mix_row.h
struct ResizeRows;         // src/attacks/resize_row.h
struct LinearCase;         // src/attacks/linear_row.h
struct BatchNormChannels;  // src/layers/batch_norm_channel.h
struct FoldChannels;       // the same

// ---- images under attack ----

// out = every channel of x filtered by `taps` along both axes, with zeros outside of the image; tap (count - 1) / 2 is
// the middle.
struct BlurRows {
  Index rows = 0, channels = 1, height = 1, width = 1;
  const float* taps = nullptr;  // (count)
  Index count = 1;
  const float* x = nullptr;
  float* between = nullptr;  // after the first axis
  float* out = nullptr;      // may be x
  Index ld = 0;              // of all three
};

// ---- minimum-norm attacks ----

// out(i) = distance of x(i) from the farthest corner of [lo, hi], infinite without a box.
struct CornerRows {
  Norm norm = Norm::l2;
  Index rows = 0, features = 0;
  const float* x = nullptr;
  const float* lo = nullptr;
  const float* hi = nullptr;
  Index ld = 0;
  float* out = nullptr;  // (rows)
};

// z = the point of {value + normal . (z - at) = 0} and [lo, hi] that is nearest to x in a norm; where they do not meet,
// the box's nearest to the plane. x lies in the box; features with a normal of 0 stay. z is no other of the matrices.
struct HyperplaneRows {
  Norm norm = Norm::l2;  // not l0
  Index rows = 0, features = 0;
  const float* x = nullptr;
  const float* at = nullptr;
  const float* normal = nullptr;
  const float* value = nullptr;  // (rows)
  const float* lo = nullptr;
  const float* hi = nullptr;
  Index ld = 0;  // of all matrices
  float* z = nullptr;
};

struct RankRivals;      // src/attacks/planes_row.h
struct LogitPair;       // src/attacks/planes_row.h
struct NearestPlane;    // src/attacks/planes_row.h
struct DdnRows;         // src/attacks/ddn_row.h
struct SphereRows;      // src/attacks/ddn_row.h
struct FmnRows;         // src/attacks/fmn_row.h
struct FabRows;         // src/attacks/fab_row.h
struct FabStartRows;    // src/attacks/fab_row.h
struct SearchRows;      // src/attacks/search_row.h
struct BoxAdam;         // src/attacks/search_row.h
struct Shrinkage;       // src/attacks/search_row.h
struct SaliencyRows;    // src/attacks/saliency_row.h
struct TightenRows;     // src/attacks/tighten_row.h
struct FreezeRows;      // src/attacks/tighten_row.h
struct LbfgsRows;       // src/attacks/lbfgs_row.h
struct FlipRows;        // src/attacks/flip_row.h
struct NewtonFoolRows;  // src/attacks/newton_fool_row.h
struct AskRows;         // src/attacks/decision_row.h, as all that follow
struct AnswerRows;
struct BeginRows;
struct CutRows;
struct NearestRows;
struct SampleRows;
struct BaselineRows;
struct LeapRows;
struct WalkRows;
struct AdaptRows;
struct PointwiseRows;  // src/attacks/pointwise_row.h

inline constexpr Index kMostPut = 32;  // bytes that Kernels::put takes

// ---- optimisers ----

// Adam's 1 - beta^t, for both betas.
struct AdamCorrections {
  float first = 1.0f, second = 1.0f;
};

struct Update {
  Index count = 0;
  float* parameter = nullptr;
  const float* gradient = nullptr;
  float* moment1 = nullptr;  // velocity of SGD
  float* moment2 = nullptr;  // Adam only
  float rate = 0.0f, momentum = 0.0f;
  bool nesterov = false;
  float beta1 = 0.0f, beta2 = 0.0f, epsilon = 0.0f;
  AdamCorrections correction;
  const AdamCorrections* changing = nullptr;  // (1): the corrections of a call that is replayed; null: those above
  float l2 = 0.0f, l1 = 0.0f;                 // decay added to the gradient: l2 * p + l1 * sign(p)
  float decay = 0.0f;                         // decoupled: p shrinks by rate * decay * p beside the step
  float scale = 1.0f;                         // multiplies the gradient before all else
};

// ---- devices ----

// An array of `count` integers of `bytes` bytes each.
struct Integers {
  const void* data = nullptr;
  Index count = 0;
  int bytes = 8;
  bool is_signed = true;
};

// What a table has beside kernels if its memory is not the host's. Every pointer a kernel is given, those of
// descriptors to descriptors aside, is to memory of the table then; only `copy` takes either, both ways. A stream is a
// queue: calls are done after finish(). These may throw.
struct Device {
  void* (*allocate)(Index bytes) = nullptr;  // null where there is no room
  void (*release)(void*) = nullptr;
  bool (*holds)(const void*) = nullptr;  // whether this is memory of the device
  Stream (*open)() = nullptr;            // null where there is no room
  void (*close)(Stream) = nullptr;
  void (*finish)(Stream) = nullptr;
  // Sets the number of active rows. compact lowers it on the device only: the host's count stays an upper bound, so no
  // loop of the host may wait for it to reach 0.
  void (*activate)(Stream, Index rows) = nullptr;
  // The stream's calls go to a queue of the caller's from now on (on a GPU a cudaStream_t; null: the device's own),
  // once all is done that the queue before was given.
  void (*follow)(Stream, void* queue) = nullptr;

  // A caller's arrays that lie on the device. *broken becomes 1 where a value is not finite in float32 or outside of
  // [lo, hi] (features); null: no box.
  void (*check_rows)(Stream, const Array& x, const double* lo, const double* hi, std::int32_t* broken) = nullptr;
  // Integers of 1, 2, 4 or 8 bytes as labels; one that is not in [0, limit) becomes 0, and *broken 1.
  void (*read_labels)(Stream, const Integers& from, Index limit, std::int32_t* labels, std::int32_t* broken) = nullptr;
  void (*write_labels)(Stream, Index count, const std::int32_t* labels, std::int64_t* to) = nullptr;
  // to = values (to.rows, to.features) rounded to its dtype; *broken becomes 1 where that cannot hold one.
  void (*write_rows)(Stream, const float* values, const Array& to, std::int32_t* broken) = nullptr;

  // What work(argument) gives to the stream is noted, to be done by every replay: kernels, copies and fills, whose
  // arguments stay what they were. replay is work like any other; forget waits for none.
  void* (*record)(Stream, void (*work)(void*), void* argument) = nullptr;
  void (*replay)(Stream, void* recording) = nullptr;
  void (*forget)(void* recording) = nullptr;
};

struct Kernels {
  const char* name = nullptr;
  Index lanes = 0;      // floats per vector
  Index panel = 0;      // columns of a packed panel
  Index tile_rows = 0;  // a multiple of the height of every tile of gemm: slabs are multiples of it where they can be

  const Device* device = nullptr;  // whose memory the kernels work on; null: the host

  // gemm.cpp
  void (*pack)(Stream, const Pack&) = nullptr;
  void (*gemm)(Stream, const Gemm&) = nullptr;
  // C (m, n) = A (m, k) B^T with n <= kNarrow and a_k = 1: B (n, k) is packed as for the product dC B, so that a layer
  // of few outputs needs one packing for both directions.
  void (*dots)(Stream, const Gemm&) = nullptr;

  // conv.cpp
  void (*arrange)(Stream, const ArrangeRows&) = nullptr;
  void (*conv)(Stream, const Conv&) = nullptr;
  void (*conv_gradient)(Stream, const ConvGradient&) = nullptr;

  // Only the outputs that read a pixel of changed(i), which region(i) holds then; lanes is 1. On a device whole passes
  // are as fast: this is null there, like all of regions.
  void (*conv_region)(Stream, const Conv&, const Region* changed, Region* region) = nullptr;

  // pool.cpp
  void (*pool_forward)(Stream, const Pool&) = nullptr;
  void (*pool_backward)(Stream, const Pool&) = nullptr;
  void (*pool_region)(Stream, const Pool&, const Region* changed, Region* region) = nullptr;

  // regions.cpp
  void (*changed_regions)(Stream, const ChangedRegions&) = nullptr;
  // region(i) grows by other(i), part by part
  void (*join_regions)(Stream, Index rows, const Region* other, Region* region) = nullptr;
  void (*settle_regions)(Stream, const SettleRegions&) = nullptr;

  // channels.cpp
  void (*scale_channels)(Stream, const ScaleChannels&) = nullptr;
  void (*batch_norm)(Stream, const BatchNormChannels&) = nullptr;
  void (*fold)(Stream, const FoldChannels&) = nullptr;

  // rbf.cpp
  void (*rbf_forward)(Stream, const RbfRows&) = nullptr;
  void (*rbf_backward)(Stream, const RbfRows&) = nullptr;
  void (*rbf_gradient)(Stream, const RbfGradient&) = nullptr;

  // maxout.cpp
  void (*maxout_forward)(Stream, const MaxoutRows&) = nullptr;
  void (*maxout_backward)(Stream, const MaxoutRows&) = nullptr;

  // one_vs_one.cpp
  void (*one_vs_one_forward)(Stream, const OneVsOneRows&) = nullptr;
  void (*one_vs_one_backward)(Stream, const OneVsOneRows&) = nullptr;

  // activation.cpp
  void (*activation_forward)(Stream, ActivationSpec, Index rows, Index n, const float* x, Index ldx, float* y,
                             Index ldy) = nullptr;
  // dy *= f'(saved), saved being the output, or the input where derivative_needs_input
  void (*activation_backward)(Stream, ActivationSpec, Index rows, Index n, const float* saved, Index lds, float* dy,
                              Index ldy) = nullptr;
  // y = keep ? x / (1 - p) : 0 by Philox; the same call on a gradient is the backward pass
  void (*dropout)(Stream, float p, Index rows, Index n, float* x, Index ldx, const Index* ids, std::uint64_t seed,
                  std::uint32_t salt) = nullptr;

  // loss.cpp
  void (*loss)(Stream, const LossRows&) = nullptr;
  void (*pair_loss)(Stream, const PairRows&) = nullptr;
  // p = softmax of each row of logits; one class: the sigmoid
  void (*softmax)(Stream, Index rows, Index classes, const float* logits, Index ld, float* p, Index p_ld) = nullptr;

  // step.cpp
  void (*limits)(Stream, const Limits&) = nullptr;
  void (*step)(Stream, const StepRows&) = nullptr;

  // vectors.cpp
  void (*row_norms)(Stream, const RowNorms&) = nullptr;
  // out(i) = x(i) . y(i), summed in float64
  void (*row_dots)(Stream, Index rows, Index n, const float* x, Index ldx, const float* y, Index ldy,
                   float* out) = nullptr;
  void (*combine)(Stream, const CombineRows&) = nullptr;

  // project.cpp
  void (*project)(Stream, const BallRows&) = nullptr;

  // random.cpp
  void (*start)(Stream, const StartRows&) = nullptr;
  void (*noise)(Stream, const NoiseRows&) = nullptr;
  void (*uniform)(Stream, Index count, float lo, float hi, std::uint64_t seed, Index id, float* out) = nullptr;

  // reduce.cpp
  bool (*all_finite)(Stream, Index count, const float* x) = nullptr;
  // Whether lo[j] <= x[r][j] <= hi[j] for all; x is (rows, n), contiguous.
  bool (*all_inside)(Stream, Index rows, Index n, const float* x, const float* lo, const float* hi) = nullptr;
  void (*column_sums)(Stream, Index rows, Index n, const float* x, Index ldx, float* sums) = nullptr;
  // sums[c]; mean[c] and variance[c] (not corrected for bias); sums of dy[c] and of dy[c] * (x[c] - center[c])
  void (*channel_sums)(Stream, const Channels&, float* sums) = nullptr;
  void (*channel_moments)(Stream, const Channels&, float* mean, float* variance) = nullptr;
  void (*channel_products)(Stream, const Channels&, const float* center, const float* dy, Index lddy, float* sums,
                           float* products) = nullptr;

  // rows.cpp. Row i of the slab is row ids[i] of the source, or first + i where ids is null.
  void (*load_rows)(Stream, const Array& source, const Index* ids, Index first, Index rows, float* x,
                    Index ld) = nullptr;
  void (*store_rows)(Stream, const StoreRows&) = nullptr;
  void (*copy)(Stream, void* to, const void* from, Index bytes) = nullptr;
  void (*fill)(Stream, void* to, int byte, Index bytes) = nullptr;
  // A few bytes of the host's, kMostPut at most and a multiple of 4, which the call takes along: it waits for nothing.
  void (*put)(Stream, void* to, const void* values, Index bytes) = nullptr;
  // to[slot[i]] = from[i] where keep[i]; null slot: i; null keep: every row
  void (*copy_rows)(Stream, Index rows, Index n, const float* from, Index ld_from, float* to, Index ld_to,
                    const std::int32_t* slot, const std::uint8_t* keep) = nullptr;
  // moves the rows with leave[i] == 0 to the front, in order; returns how many stay, or on a device the most that may
  Index (*compact)(Stream, Index rows, const std::uint8_t* leave, const RowBuffer* buffers, int count) = nullptr;
  void (*track_best)(Stream, Index rows, const TrackBest&) = nullptr;
  void (*apgd)(Stream, Index rows, const ApgdRows&) = nullptr;
  void (*mix)(Stream, Index rows, const MixRows&) = nullptr;

  // linear_step.cpp: a step of L-infinity PGD through one layer of few outputs, and the logits where it leads, in one
  // pass over the rows. Null where pgd does.
  void (*linear_step)(Stream, const LinearStep&) = nullptr;

  // pgd.cu: a whole run of L-infinity PGD in one launch. False: the model or the batch does not fit, and nothing is
  // done. Null where steps one by one are as good.
  bool (*pgd)(Stream, const PgdRows&) = nullptr;

  // images.cpp
  void (*blur)(Stream, const BlurRows&) = nullptr;
  void (*resize)(Stream, const ResizeRows&) = nullptr;

  // square.cpp
  void (*square)(Stream, const SquareRows&) = nullptr;

  // hyperplane.cpp
  void (*farthest_corner)(Stream, const CornerRows&) = nullptr;
  void (*hyperplane)(Stream, const HyperplaneRows&) = nullptr;

  // search.cpp
  void (*box_adam)(Stream, Index rows, const BoxAdam&) = nullptr;
  void (*shrink)(Stream, Index rows, const Shrinkage&) = nullptr;
  void (*freeze)(Stream, Index rows, const FreezeRows&) = nullptr;

  // lbfgs.cpp
  void (*lbfgs)(Stream, Index rows, const LbfgsRows&) = nullptr;

  // flip.cpp
  void (*flip)(Stream, Index rows, const FlipRows&) = nullptr;

  // saliency.cpp
  void (*saliency)(Stream, Index rows, const SaliencyRows&) = nullptr;

  // decide.cpp
  void (*rank_rivals)(Stream, Index rows, const RankRivals&) = nullptr;
  void (*logit_pair)(Stream, Index rows, const LogitPair&) = nullptr;
  void (*nearest_plane)(Stream, Index rows, const NearestPlane&) = nullptr;
  void (*ddn)(Stream, Index rows, const DdnRows&) = nullptr;
  void (*sphere)(Stream, Index rows, const SphereRows&) = nullptr;
  void (*fmn)(Stream, Index rows, const FmnRows&) = nullptr;
  void (*fab)(Stream, Index rows, const FabRows&) = nullptr;
  void (*fab_start)(Stream, Index rows, const FabStartRows&) = nullptr;
  void (*search)(Stream, Index rows, const SearchRows&) = nullptr;
  void (*tighten)(Stream, Index rows, const TightenRows&) = nullptr;
  void (*newton_fool)(Stream, Index rows, const NewtonFoolRows&) = nullptr;
  void (*decision_ask)(Stream, Index rows, const AskRows&) = nullptr;
  void (*decision_answer)(Stream, Index rows, const AnswerRows&) = nullptr;
  void (*decision_begin)(Stream, Index rows, const BeginRows&) = nullptr;
  void (*decision_cut)(Stream, Index rows, const CutRows&) = nullptr;
  void (*decision_nearest)(Stream, Index rows, const NearestRows&) = nullptr;
  void (*decision_sample)(Stream, Index rows, const SampleRows&) = nullptr;
  void (*decision_baseline)(Stream, Index rows, const BaselineRows&) = nullptr;
  void (*decision_leap)(Stream, Index rows, const LeapRows&) = nullptr;
  void (*decision_walk)(Stream, Index rows, const WalkRows&) = nullptr;
  void (*decision_adapt)(Stream, Index rows, const AdaptRows&) = nullptr;
  void (*pointwise)(Stream, Index rows, const PointwiseRows&) = nullptr;

  // linear_exact.cpp
  void (*linear_exact)(Stream, const LinearCase&) = nullptr;

  // optim.cpp
  void (*sgd)(Stream, const Update&) = nullptr;
  void (*adam)(Stream, const Update&) = nullptr;
  // the sum of squares, in double
  double (*sum_squares)(Stream, Index count, const float* x) = nullptr;
  // rows (rows, n) that are longer than `most` in L2 are scaled down to it
  void (*limit_norms)(Stream, Index rows, Index n, float* x, float most) = nullptr;
  // to += share * (from - to)
  void (*blend)(Stream, Index count, float share, const float* from, float* to) = nullptr;

  // roofline.cpp: `rounds` passes of independent fused multiply-adds; returns FLOPs done
  double (*fma_loop)(Index rounds) = nullptr;
};

}  // namespace epsball
