#pragma once
/// Everything of actium::actium. The propagation library has its own headers: initializer.hpp and
/// propagation.hpp.
#include <actium/activation.hpp>
#include <actium/array_view.hpp>
#include <actium/context.hpp>
#include <actium/cross_entropy.hpp>
#include <actium/dtype.hpp>
#include <actium/error.hpp>
#include <actium/gated.hpp>
#include <actium/softmax.hpp>
#include <actium/sparsemax.hpp>
#include <actium/tensor.hpp>
