#include "file_kind.h"

#include <sys/stat.h>

#include <algorithm>

#include "error.h"
#include "file.h"

namespace label_image {
namespace {

constexpr char kFreeze[] = "python -m tensorflow.python.tools.freeze_graph";

struct Signature {
  size_t offset;
  std::string_view bytes;
  const char* kind;
};

using namespace std::string_view_literals;  // signatures may contain zeros

constexpr Signature kSignatures[] = {
    {0, "\x89PNG\r\n"sv, "is an image (PNG), which goes after the graph"},
    {0, "\xff\xd8\xff"sv, "is an image (JPEG), which goes after the graph"},
    {0, "BM"sv, "is an image (BMP), which goes after the graph"},
    {0, "GIF8"sv, "is a GIF image, which is not supported: convert it to PNG"},
    {4, "TFL3"sv, "is a TensorFlow Lite model: its name must end in .tflite, or give --runtime "
                  "litert"},
    {0, "\x89HDF\r\n"sv, "is a Keras model or its weights (HDF5): in Keras, call "
                         "model.export('DIR') and name DIR instead"},
    {0, "\x1f\x8b"sv, "is compressed: unpack it with gunzip first"},
    {0, "\x80\x02"sv, "is a Python pickle, such as a PyTorch model: convert it to TensorFlow "
                      "first"},
};

bool Contains(std::string_view bytes, std::string_view part) {
  return bytes.find(part) != bytes.npos;
}

// Return whether a serialized MetaGraphDef, not a GraphDef, begins so: its first field has the
// operations before any name, and a node begins with its name.
bool IsMetaGraph(std::string_view bytes) {
  if (bytes.size() < 12 || bytes[0] != 0x0a) return false;
  size_t i = 1;
  while (i < 10 && (bytes[i] & 0x80)) ++i;
  return bytes[i + 1] == 0x12;
}

bool IsText(std::string_view bytes) {
  const std::string_view begin = bytes.substr(0, 1000);
  return std::none_of(begin.begin(), begin.end(), [](unsigned char c) {
    return (c < 0x20 && c != '\n' && c != '\r' && c != '\t') || c == 0x7f;
  });
}

std::string DirectoryKind(const std::string& path) {
  const auto has = [&path](const char* name) {
    struct stat status;
    return stat((path + "/" + name).c_str(), &status) == 0;
  };
  if (has("saved_model.pb") || has("saved_model.pbtxt")) {
    return Concat("is a SavedModel: label_image.sh runs it, or freeze it: tools/write_graph.py ",
                  path, " FILE.pb");
  }
  if (has("config.json") && has("train")) {
    return "is a run: name the .pb file in it, which freeze_graph.py --run " + path + " writes";
  }
  return "is a directory: name a frozen graph in it";
}

}  // namespace

std::string FileKind(std::string_view bytes) {
  if (bytes.empty()) return "is empty";
  for (const Signature& signature : kSignatures) {
    if (bytes.size() > signature.offset &&
        bytes.substr(signature.offset, signature.bytes.size()) == signature.bytes) {
      return signature.kind;
    }
  }
  const std::string_view begin = bytes.substr(0, 300);
  if (begin.substr(0, 4) == "PK\3\4") {
    if (Contains(begin, "metadata.json") || Contains(begin, "config.json") ||
        Contains(begin, "model.weights.h5")) {
      return "is a Keras model: in Keras, call model.export('DIR') and name DIR instead";
    }
    return Contains(begin, "data.pkl") || Contains(begin, "archive/")
               ? "is a PyTorch model: convert it to TensorFlow first"
               : "is a zip archive: unpack it first";
  }
  if (begin.substr(0, 3) == "\x08\x01\x12") {
    return "is the file of a SavedModel: name its directory";
  }
  if (begin[0] == 0x08) {
    return "is an ONNX model: its name must end in .onnx, or give --runtime onnxruntime";
  }
  if (IsMetaGraph(bytes)) {
    return Concat("is a MetaGraph, which has no weights: freeze its checkpoint with ", kFreeze,
                  " --input_binary --input_meta_graph=FILE.meta --input_checkpoint=PREFIX "
                  "--output_node_names=NODE --output_graph=FILE.pb");
  }
  if (bytes.size() > 8 && bytes.substr(bytes.size() - 8) == "\x57\xfb\x80\x8b\x24\x75\x47\xdb") {
    return "is the index of a checkpoint: freeze the run that it belongs to";
  }
  if (bytes.size() > 9 && bytes.substr(8, 2) == "{\"") {
    return "contains only weights (safetensors): convert the model to TensorFlow first";
  }
  if (!IsText(bytes)) return "";
  const size_t first = begin.find_first_not_of(" \t\r\n");
  const std::string_view text = first == begin.npos ? "" : begin.substr(first);
  if (text.substr(0, 1) == "{" || text.substr(0, 1) == "[") return "is a JSON file";
  if (Contains(begin, "saved_model_schema_version")) {
    return "is the text file of a SavedModel: name its directory";
  }
  if (text.substr(0, 4) == "node" && text.find_first_of("{:") != text.npos) {
    return "is a graph as text: label_image.sh runs it if its name ends in .pbtxt";
  }
  return "is a text file";
}

std::string ReadGraphFile(const std::string& path) {
  struct stat status;
  const bool is_directory = stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
  std::string bytes = is_directory ? "" : ReadFile(path);
  const std::string kind = is_directory ? DirectoryKind(path) : FileKind(bytes);
  if (!kind.empty()) throw Error(path, " is not a frozen graph: it ", kind);
  return bytes;
}

}  // namespace label_image
