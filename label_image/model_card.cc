#include "model_card.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>

#include "error.h"
#include "file.h"
#include "sha256.h"

namespace label_image {
namespace {

constexpr size_t kMaxBytes = 16 << 20;
constexpr int kMaxDepth = 50;

// Reads json from front to back. Only the members of the outermost object matter.
class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}

  ModelCard Parse(std::optional<size_t> graph_bytes) {
    ModelCard card;
    bool is_of_another_graph = false;
    Object([&](const std::string& name) {
      const char next = Peek();
      if (name == "model" && next == '"') {
        card.model = OneLine(String(), 100);
      } else if (name == "sha256" && next == '"') {
        card.sha256 = String();
      } else if (name == "classes" && next == '[') {
        card.classes = Strings();
      } else if (next == '-' || (next >= '0' && next <= '9')) {
        const double number = Number();
        if (name == "accuracy" && number >= 0 && number <= 1) card.accuracy = number;
        if (name == "bytes" && graph_bytes) {
          is_of_another_graph = number != static_cast<double>(*graph_bytes);
        }
      } else {
        Skip(1);
      }
    });
    if (Peek()) throw Error("unexpected text after the object");
    return is_of_another_graph ? ModelCard() : card;
  }

 private:
  // Return the next character that is not a space; 0 at the end.
  char Peek() {
    const size_t next = rest_.find_first_not_of(" \t\r\n");
    rest_.remove_prefix(std::min(next, rest_.size()));
    return rest_.empty() ? '\0' : rest_[0];
  }

  bool Take(char wanted) {
    if (Peek() != wanted || rest_.empty()) return false;
    rest_.remove_prefix(1);
    return true;
  }

  void Require(char wanted) {
    if (!Take(wanted)) throw Error("expected '", wanted, "'");
  }

  template <typename Read>
  void Object(const Read& read) {
    Require('{');
    if (Take('}')) return;
    do {
      const std::string name = String();
      Require(':');
      read(name);
    } while (Take(','));
    Require('}');
  }

  std::vector<std::string> Strings() {
    std::vector<std::string> strings;
    Require('[');
    if (Take(']')) return strings;
    do {
      if (Peek() != '"') throw Error("a class is not a string");
      strings.push_back(OneLine(String(), kMaxClassName));
    } while (Take(','));
    Require(']');
    return strings;
  }

  double Number() {
    const std::string text(rest_.substr(0, rest_.find_first_not_of("+-.0123456789eE")));
    rest_.remove_prefix(text.size());
    return strtod(text.c_str(), nullptr);
  }

  std::string String() {
    Require('"');
    std::string text;
    while (!rest_.empty() && rest_[0] != '"') {
      const char c = rest_[0];
      rest_.remove_prefix(1);
      if (c == '\\') {
        Escape(&text);
      } else {
        text += c;
      }
    }
    Require('"');
    return text;
  }

  // Append the character that the rest of an escape stands for, as UTF-8.
  void Escape(std::string* text) {
    static constexpr std::string_view kNames = "\"\\/bfnrt", kValues = "\"\\/\b\f\n\r\t";
    const size_t name = rest_.empty() ? kNames.npos : kNames.find(rest_[0]);
    if (name != kNames.npos) {
      *text += kValues[name];
      rest_.remove_prefix(1);
      return;
    }
    unsigned long code = Hexadecimal();
    if (code >= 0xd800 && code < 0xdc00) {  // the first half of a pair
      const unsigned long second = Hexadecimal(rest_.substr(0, 1) == "\\" ? 1 : 0);
      code = 0x10000 + ((code - 0xd800) << 10) + (second - 0xdc00) % 0x400;
    }
    if (code < 0x80) {
      *text += static_cast<char>(code);
      return;
    }
    const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;  // bytes after the first
    *text += static_cast<char>((0xff00 >> (more + 1) & 0xff) | code >> 6 * more);
    for (int i = more - 1; i >= 0; --i) {
      *text += static_cast<char>(0x80 | (code >> 6 * i & 0x3f));
    }
  }

  // Return the number of an escape such as u00e9, after `skipped` characters.
  unsigned long Hexadecimal(size_t skipped = 0) {
    if (rest_.size() < skipped + 5 || rest_[skipped] != 'u') throw Error("it has a wrong escape");
    const std::string digits(rest_.substr(skipped + 1, 4));
    if (digits.find_first_not_of("0123456789abcdefABCDEF") != digits.npos) {
      throw Error("it has a wrong escape");
    }
    rest_.remove_prefix(skipped + 5);
    return strtoul(digits.c_str(), nullptr, 16);
  }

  void Skip(int depth) {
    if (depth > kMaxDepth) throw Error("it is nested too deeply");
    const char next = Peek();
    if (next == '"') {
      String();
    } else if (next == '{') {
      Object([this, depth](const std::string&) { Skip(depth + 1); });
    } else if (next == '[') {
      Require('[');
      if (Take(']')) return;
      do Skip(depth + 1);
      while (Take(','));
      Require(']');
    } else {  // a number, true, false or null
      const size_t size = std::min(rest_.find_first_of(",]} \t\r\n"), rest_.size());
      if (size == 0) throw Error("it lacks a value");
      rest_.remove_prefix(size);
    }
  }

  std::string_view rest_;
};

}  // namespace

ModelCard ParseModelCard(std::string_view json, std::optional<size_t> graph_bytes) {
  return Parser(json).Parse(graph_bytes);
}

ModelCard ReadModelCard(const std::string& name) {
  // The json is next to a SavedModel directory, not in it.
  const std::string path = name.substr(0, name.find_last_not_of('/') + 1);
  const std::string json =
      (EndsWith(path, ".pb") ? path.substr(0, path.size() - 3) : path) + ".json";
  struct stat graph, status;
  if (stat(path.c_str(), &graph) != 0 || stat(json.c_str(), &status) != 0) return {};
  const std::string file = S_ISDIR(graph.st_mode) ? path + "/saved_model.pb" : path;
  try {
    std::optional<size_t> bytes;
    if (stat(file.c_str(), &graph) == 0 && S_ISREG(graph.st_mode)) bytes = graph.st_size;
    const ModelCard card = ParseModelCard(ReadFile(json, kMaxBytes), bytes);
    const bool is_checked = bytes && !card.sha256.empty();
    return is_checked && card.sha256 != Sha256OfFile(file) ? ModelCard() : card;
  } catch (const Error& error) {
    PrintError(Concat("note: ", Printable(json), " is damaged (", error.what(),
                      "): continuing without it"));
    return {};
  }
}

std::string GraphTitle(const std::string& path, const ModelCard& card) {
  std::string facts = card.model;
  if (card.accuracy >= 0) {
    facts += Format("%saccuracy %.4f", facts.empty() ? "" : ", ", card.accuracy);
  }
  return Printable(path) + (facts.empty() ? "" : " (" + facts + ")");
}

}  // namespace label_image
