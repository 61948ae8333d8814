// From rows of images, channels first, to what layers of images compute on, and back. Only plans make these layers.
#pragma once

#include "layers/layer.h"

namespace epsball {

enum class Arrangement : bool { to_images, to_rows };

class Arrange : public Layer {
 public:
  Arrange(Image image, Arrangement to) : Layer(image.features(), image.features()), image_(image), to_(to) {}

  Reach reach() const override { return to_ == Arrangement::to_images ? Reach::pixel : Reach::all; }
  Intervals intervals() const override { return Intervals::affine; }
  void forward(const Context& context, const float*, const Stage& s) const override {
    arrange(context, s.rows, s.x, s.y, to_ == Arrangement::to_images);
  }
  void backward(const Context& context, const float*, const Stage& s) const override;

 private:
  void arrange(const Context&, Index rows, Rows from, Rows to, bool to_images) const;

  Image image_;
  Arrangement to_;
};

}  // namespace epsball
