// The words of the Python API for the engine's enumerations.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "kernels.h"

namespace epsball::bindings {

template <class E>
struct Named {
  const char* name;
  E value;
};

inline constexpr Named<Norm> kNorms[] = {{"linf", Norm::linf}, {"l2", Norm::l2}, {"l1", Norm::l1}, {"l0", Norm::l0}};
inline constexpr Named<Loss> kLosses[] = {{"cross_entropy", Loss::cross_entropy},
                                          {"margin", Loss::margin},
                                          {"squared_error", Loss::squared_error},
                                          {"confidence", Loss::confidence},
                                          {"hinge", Loss::hinge},
                                          {"crammer_singer", Loss::crammer_singer},
                                          {"logit", Loss::logit},
                                          {"dlr", Loss::dlr},
                                          {"jitter", Loss::jitter}};
inline constexpr Named<Activation> kActivations[] = {{"relu", Activation::relu}, {"leaky_relu", Activation::leaky_relu},
                                                     {"elu", Activation::elu},   {"sigmoid", Activation::sigmoid},
                                                     {"tanh", Activation::tanh}, {"softplus", Activation::softplus},
                                                     {"gelu", Activation::gelu}, {"quadratic", Activation::quadratic},
                                                     {"exp", Activation::exp},   {"power", Activation::power}};
inline constexpr Named<Start> kStarts[] = {{"ball", Start::ball},
                                           {"signs", Start::signs},
                                           {"sphere", Start::sphere},
                                           {"gaussian", Start::gaussian},
                                           {"salt_and_pepper", Start::salt_and_pepper},
                                           {"normal", Start::normal}};

template <class E, std::size_t N>
E by_name(const Named<E> (&names)[N], const char* argument, const std::string& name) {
  std::string all;
  for (const auto& n : names) {
    if (name == n.name) return n.value;
    all += (all.empty() ? "'" : ", '") + std::string(n.name) + "'";
  }
  throw pybind11::value_error(std::string(argument) + ": wanted one of " + all + ", got '" + name + "'");
}

template <class E, std::size_t N>
const char* name_in(const Named<E> (&names)[N], E value) {
  for (const auto& n : names)
    if (n.value == value) return n.name;
  return "?";
}

inline Norm norm_of(const std::string& name) { return by_name(kNorms, "norm", name); }
inline Loss loss_of(const std::string& name) { return by_name(kLosses, "loss", name); }
inline Start start_of(const std::string& name) { return by_name(kStarts, "random_start", name); }
inline const char* name_of(Loss loss) { return name_in(kLosses, loss == Loss::dlr_targeted ? Loss::dlr : loss); }

}  // namespace epsball::bindings
