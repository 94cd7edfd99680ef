// Hides the log of the TensorFlow library, and turns its crashes into one line: the library logs
// at any log level, and it aborts on some graphs that it should reject.
#pragma once

namespace label_image {

// From now on keep all output to stderr back, unless the user has set TF_CPP_MIN_LOG_LEVEL=0. After
// a crash, print one line with the last line of that output, and exit with code 1.
void InstallCrashHandler();

}  // namespace label_image
