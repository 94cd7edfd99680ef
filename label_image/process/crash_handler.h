// Hides the log of the runtime's library, and turns its crashes into one line: TensorFlow logs at
// any log level, and it aborts on some graphs that it should reject.
#pragma once

namespace label_image {

// The library that crashes and the phase, for its line: "TensorFlow", "while running the graph".
extern const char* volatile crash_runtime;
extern const char* volatile crash_phase;

// From now on hold back everything written to stderr, unless the user has set
// TF_CPP_MIN_LOG_LEVEL=0. After a crash, print one line with the signal or the last line of that
// output, and exit with code 1.
void InstallCrashHandler();

// From now on, only later output explains a crash: TensorFlow 2.21 prints notes while it is loaded.
void ForgetLog();

// Return function(argc, argv), run on a stack of 512 MB: TensorFlow 2.21 recurses once or more for
// each node of a chain. If even that is too small, the crash handler still has a stack of its own.
int RunOnLargeStack(int (*function)(int, char**), int argc, char** argv);

}  // namespace label_image
