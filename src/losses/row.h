// What a loss asks of a row of logits.
#pragma once

#include <concepts>

#include "array.h"
#include "formulas.h"

namespace epsball::EPSBALL_ISA {

// One row of logits, or with a vector V one row in each lane; every loss is written once for both.
template <class Row, class V>
concept LossRow = requires(const Row& row, Index j, V v) {
  { row.z(j) } -> std::same_as<V>;                       // the logit of class j
  { row.hard() } -> std::same_as<bool>;                  // whether the rows have labels; if not, soft targets
  { select(row.is_label(j), v, v) } -> std::same_as<V>;  // whether j is the label
  { row.target(j) } -> std::same_as<V>;  // the soft target; of a label 1 or 0, and with one class the label itself
  row.dz(j, v);                          // stores the derivative of the loss by z(j)
  { row.get_dz(j) } -> std::same_as<V>;  // what dz(j, v) has stored
  { row.sized() } -> std::same_as<bool>;
  row.log_size(v);  // where sized(): stores the logarithm of what a unit gradient was divided by
};

// A row that also knows the class to be predicted instead of its label.
template <class Row, class V>
concept RivalRow = LossRow<Row, V> && requires(const Row& row, Index j, V v) {
  { select(row.is_rival(j), v, v) } -> std::same_as<V>;
};

// A row with noise for its probabilities.
template <class Row, class V>
concept NoisyRow = LossRow<Row, V> && requires(const Row& row, Index j) {
  { row.noise(j) } -> std::same_as<V>;
};

}  // namespace epsball::EPSBALL_ISA
