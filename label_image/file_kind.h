// Files that people take for a frozen graph: what they are, by their content, and what to do.
#pragma once

#include <string>
#include <string_view>

namespace label_image {

// Return the bytes of the frozen graph at `path`. Throws Error if that is a directory or a file of
// another kind; damaged graphs are left to Graph.
std::string ReadGraphFile(const std::string& path);

// Return "is a ...: what to do" for the bytes of a file that is not a GraphDef, else "".
// permafrost/evaluation/frozen_graphs/file_kinds.py has the same table.
std::string FileKind(std::string_view bytes);

}  // namespace label_image
