// The json next to a graph, which freeze_graph.py writes: its model, accuracy and classes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace label_image {

struct ModelCard {
  std::string model;                 // "" if the json does not say
  double accuracy = -1;              // -1 if it does not say
  std::vector<std::string> classes;  // as they are to be printed
  std::string sha256;                // of the graph; "" if it does not say
};

// Return the card of the graph at `path`: empty if there is no such file, or that of another graph,
// by its size and checksum. Of a SavedModel directory, the graph is its saved_model.pb.
// A file that is not json is reported on stderr. Python: reading/model_card.py.
ModelCard ReadModelCard(const std::string& path);

// Return the fields of a card in a json text. `graph_bytes` is the size of the graph: if the json
// names another one, the card is empty; nothing: any size is right. Throws Error.
ModelCard ParseModelCard(std::string_view json, std::optional<size_t> graph_bytes);

// Return "path (model, accuracy 0.8876)", as far as the card says it.
std::string GraphTitle(const std::string& path, const ModelCard& card);

}  // namespace label_image
