#include "inference/network.h"

#include <algorithm>

#include "error.h"

namespace label_image {

Network::Network(Model* model, const NetworkOptions& options)
    : model_(*model), options_(options), card_(ReadModelCard(options.card_path)),
      output_(model->name(), model->nodes(), model->source_op(), options.output_kind) {
  if (!node().empty()) {
    input_.emplace(name(), node(), model->nodes().own, model->input(), options);
  }
  AskForMissing();
  session_ =
      NamingFile(name(), [&] { return model->Open(input_->info(), options.traced); });
  if (!options.only_timed && model->is_random()) CheckNotRandom();
}

// Throw Error if two runs give two answers. Dropout that is switched off draws numbers, too.
void Network::CheckNotRandom() {
  const int64_t count = std::max<int64_t>(input_->batch(), 1);
  std::vector<uint8_t> pixels(size_t{3} * image_height() * image_width() * count);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * i);
  const auto values = [&]() -> std::vector<float> {
    Output output = output_;  // the first values may decide what they mean
    return output.Read(Result(pixels.data(), count, image_height(), image_width()), count).values;
  };
  if (values() == values()) return;
  throw Error(name(), " gives a different answer on every run: RandomUniform is not allowed "
              "in inference (--allow_any_op runs it anyway): switch dropout off, e.g. with --feed");
}

void Network::AskForMissing() const {
  std::string missing;
  for (const std::string& flag : model_.nodes().missing_flags) missing += " " + flag;
  const bool lacks_size =
      input_ && (input_->lacks_size() || (input_->any_size() && options_.only_timed));
  if (lacks_size) missing += " --image_size N";
  if (missing.empty()) return;
  throw UsageError(name(), input_ ? Concat(" (input ", Quote(node()), ")") : "",
                   " leaves some settings open: add", missing);
}

int Network::image_size() const {
  if (image_height() == image_width()) return image_height();
  throw Error(name(), " expects images of ", image_width(), "x", image_height(),
              ", but those of batch files are square");
}

std::string Network::Describe() const {
  std::string text = "graph: " + GraphTitle(name(), card_) + "\n";
  if (!model_.nodes().own || output_.kind() != OutputKind::kLogits) {
    text += Concat("input: ", input_->Describe(), "\noutput: ", output_.Describe(), "\n");
  }
  const auto list = [&text](const char* title, const std::vector<std::string>& names) {
    if (names.empty()) return;
    std::string all;
    for (const std::string& name : names) all += (all.empty() ? "" : ", ") + OneLine(name, 50);
    text += Concat(title, all, " (--feed changes ", names.size() == 1 ? "it" : "them", ")\n");
  };
  list("assumed: ", model_.nodes().assumed);
  list("defaults of the graph: ", model_.nodes().defaults);
  return text;
}

Tensor Network::Input(const uint8_t* images, int64_t count, int height, int width) const {
  if (input_->batch() && count != input_->batch()) {
    throw UsageError(name(), " accepts ", input_->batch(),
                     input_->batch() == 1 ? " image" : " images", " at a time: give --batch_size ",
                     input_->batch());
  }
  const Shape shape = input_->shape(count, height, width);
  Tensor input = NamingFile(name(), [&] { return session_->NewInput(shape); });
  input_->Fill(images, count, height, width, input.data);
  return input;
}

// Return what the graph makes of as many images as it accepts at once, a row for each.
Tensor Network::Result(const uint8_t* images, int64_t count, int height, int width) {
  Tensor result = Run(Input(images, count, height, width));
  if (!input_->batched() && result.shape.size() == 1) result.shape.insert(result.shape.begin(), 1);
  return result;
}

Probabilities Network::Classify(const uint8_t* images, int64_t count, int height, int width) {
  const int64_t most = input_->batch();
  if (!most) return output_.Read(Result(images, count, height, width), count);
  // A graph of fixed batch size may have it in a Reshape, too: feed it exactly that many images.
  const size_t size = size_t{3} * height * width;
  Probabilities all;
  for (int64_t first = 0; first < count; first += most) {
    const int64_t used = std::min(most, count - first);
    std::vector<uint8_t> batch(images + size * first, images + size * (first + used));
    for (int64_t i = used; i < most; ++i) {
      batch.insert(batch.end(), images + size * first, images + size * (first + 1));
    }
    const Probabilities some =
        output_.Read(Result(batch.data(), most, height, width), most);
    all.classes = some.classes;
    all.values.insert(all.values.end(), some.values.begin(),
                      some.values.begin() + static_cast<int64_t>(some.classes) * used);
  }
  return all;
}

}  // namespace label_image
