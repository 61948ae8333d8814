// Passes by regions through a plan: rows one by one, convolutions and pools where the region reaches, every other layer
// whole.
#pragma once

#include "plan.h"

namespace epsball {

class PlanRegionPass : public RegionPass {
 public:
  PlanRegionPass(const Plan& plan, const Context& context, Arena& arena, Index rows);

  // Layers from the first on whose outputs are changed in a region only; 0: not worth it.
  static std::size_t local_layers(const Plan& plan);
  static Index floats_per_row(const Plan& plan);

  double share(int parts, Index tall, Index wide) const override;
  void begin(Index rows, Rows x) override;
  Rows forward(Index rows, Rows x, Rows kept) override;
  void settle(Index rows, const std::uint8_t* keep) override;
  const std::vector<RowBuffer>& buffers() const override { return buffers_; }

 private:
  // What stands behind a layer, local ones first.
  struct Value {
    Rows now, kept;            // kept: of layers of windows only, all others being computed whole
    Region* region = nullptr;  // (rows) where `now` differs from what was kept
  };
  Stage stage(std::size_t i, Index rows, Rows x) const;
  void forward_whole(std::size_t i, Index rows, Rows x) const;
  void forward_region(std::size_t i, Index rows, Rows x) const;

  const Plan& plan_;
  const Context context_;  // lanes: 1
  const std::vector<Lowered>& layers_;
  const std::size_t local_;
  const Image image_;  // of a row of x
  std::vector<Value> values_;
  Region* const changed_;  // (rows) of x
  std::vector<RowBuffer> buffers_;
};

}  // namespace epsball
