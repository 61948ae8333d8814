// JSMA: two features at a time, those that the saliency map of a target class says matter most.
#pragma once

#include "attacks/attack.h"

namespace epsball {

struct JsmaSettings : AttackSettings {
  int steps = 0;  // pairs
  float theta = 1.0f;
  bool increase = true;
  bool again = false;  // a feature may move more than once
  bool others = true;  // the map looks at the other logits, too
};

class JsmaSlab : public SlabAttack {
 public:
  JsmaSlab(const Target& target, const JsmaSettings& settings, Worker& worker);

  static Index iterates(const JsmaSettings& s) { return s.steps + 1; }
  static double passes(const JsmaSettings& s) { return (s.others ? 3.0 : 2.0) * static_cast<double>(iterates(s)); }
  static Index floats_per_row(const Target& target) {
    return SlabAttack::floats_per_row(target) + 2 * padded(target.features());
  }

 private:
  void attack() override;
  void choose_targets();
  void differentiate(bool target_only, Rows gradient);
  void oppose();
  void move();

  const JsmaSettings s_;
  Rows target_, others_;
  std::int32_t* wanted_;  // the class whose logit is to rise
};

}  // namespace epsball
