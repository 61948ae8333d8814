// Batch normalisation per channel on the emulated GPU, and what is folded into the layer below: as on the CPU.
#include "launch.cuh"

#include "check.h"
#include "layers/batch_norm_channel.h"
#include "twin.h"

using namespace epsball;
using namespace epsball::test;

namespace {

constexpr double kTolerance = 1e-6;

bool near(const Twin<float>& value) { return all_near(value.gpu.host(), value.cpu, kTolerance); }

void test_steps(Index channels) {
  const Index room = BatchNormArrays::kCount * padded(channels);
  Twin<float> packed(std::vector<float>(room, 0.5f)), to(floats(room, 1, 0.5f, 2.0f)), weight(floats(channels, 2)),
      bias(floats(channels, 3)), mean(floats(channels, 4)), variance(floats(channels, 5, 0.1f, 2.0f)),
      dbias(floats(channels, 6)), dweight(floats(channels, 7));
  for (const BatchNormStep step :
       {BatchNormStep::pack, BatchNormStep::forward, BatchNormStep::backward, BatchNormStep::keep})
    on_both([&](bool d, const Kernels& k, Stream s, Index) {
      BatchNormChannels b{step, channels, {(step == BatchNormStep::pack ? packed : to).on(d), channels}, 1e-5f};
      b.weight = weight.on(d), b.bias = bias.on(d);
      b.running_mean = mean.on(d), b.running_variance = variance.on(d);
      b.momentum = 0.1f, b.unbiased = 1.25f;
      b.packed = {packed.on(d), channels};
      b.dbias = dbias.on(d), b.dweight = dweight.on(d);
      b.share = 0.125f;
      k.batch_norm(s, b);
    });
  CHECK(near(packed) && near(to) && near(mean) && near(variance) && near(dbias) && near(dweight));
  CHECK(packed.cpu[0] != 0.5f);
}

void test_folding(Index channels, Index each) {
  Twin<float> weight(floats(channels * each, 1)), bias(floats(channels, 2)), scale(floats(channels, 3)),
      shift(floats(channels, 4)), mean(floats(channels, 5)), variance(floats(channels, 6, 0.1f, 2.0f)),
      to_weight(std::vector<float>(channels * each, 9.0f)), to_bias(std::vector<float>(channels, 9.0f));
  for (const bool biased : {false, true}) {
    on_both([&](bool d, const Kernels& k, Stream s, Index) {
      k.fold(s, {channels, each, weight.on(d), biased ? bias.on(d) : nullptr, to_weight.on(d), to_bias.on(d), 1e-5f,
                 scale.on(d), shift.on(d), mean.on(d), variance.on(d)});
    });
    CHECK(near(to_weight) && near(to_bias));
    CHECK(to_weight.cpu.back() != 9.0f && to_bias.cpu.back() != 9.0f);
  }
}

}  // namespace

int main() {
  for (const Index channels : {1, 7, 31, 33, 129}) {
    test_steps(channels);
    for (const Index each : {1, 9, 65}) test_folding(channels, each);
  }
  CHECK(cuda::emulate::device_memory().blocks == 0);
  return finish();
}
