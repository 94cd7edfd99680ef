// The three things that the program does. Each prints its results and returns an exit code.
#pragma once

#include "flags.h"
#include "graph/graph.h"
#include "runtime/network.h"
#include "runtime/tensorflow.h"

namespace label_image {

// Classify flags.images. An image that cannot be read is reported, the others are classified, and
// the exit code is 1.
int ClassifyImages(const Flags& flags, const TensorFlow& tf, const Graph& graph, Network* network);

// Evaluate flags.batch_files.
int EvaluateFiles(const Flags& flags, const TensorFlow& tf, const Graph& graph, Network* network);

// Measure latency on random images.
int RunBenchmark(const Flags& flags, const TensorFlow& tf, const Graph& graph, Network* network);

}  // namespace label_image
