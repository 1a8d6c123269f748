// What other processes call themselves and their threads may hold anything.
#pragma once

#include <string>

namespace launcher {

// As valid UTF-8 in one line, with nothing that a terminal obeys.
std::string printable(const std::string& text);
// As a string of JSON, with the quotes.
std::string json_quoted(const std::string& text);

}  // namespace launcher
