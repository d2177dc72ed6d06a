#pragma once

#include <memory>
#include <string>

#include "file.h"

namespace openelm {

// The whole file at addresses of this process, in the pages in which the system keeps it for all
// that read it. It is mapped until neither the file nor a part that it shares is held. Throws as
// File::open.
std::shared_ptr<const File> map_file(const std::string& path);

}  // namespace openelm
