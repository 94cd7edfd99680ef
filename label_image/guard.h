// Keeps what the library does beside its work from the user: it logs, whatever it is told, and
// it aborts on some graphs that it should have refused.

#ifndef LABEL_IMAGE_GUARD_H_
#define LABEL_IMAGE_GUARD_H_

namespace label_image {

// From here on what is written to stderr is kept back, unless the user has set
// TF_CPP_MIN_LOG_LEVEL, and a crash is one line, with the last that was kept back, and exit 1.
void GuardAgainstLibrary();

// Where our own messages go.
int RealStderr();

}  // namespace label_image

#endif  // LABEL_IMAGE_GUARD_H_
