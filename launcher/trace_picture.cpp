// The picture of a timeline: one HTML file that needs nothing else. A row a P, coloured by the G that had most of each
// moment, how many Gs were runnable, and the summary.
#include <stdlib.h>

#include <algorithm>

#include "launcher/text.h"
#include "launcher/trace.h"

namespace launcher::trace {

namespace {

constexpr int kColumns = 1200;
constexpr int kCells = 60000;  // of all rows: a file of a few megabytes at most
constexpr int kLabel = 60;
constexpr int kRow = 22;
constexpr int kCurve = 60;

// Neighbouring ids get colours far apart.
std::string colour(Gid g) {
  char text[32];
  snprintf(text, sizeof text, "hsl(%u,60%%,%u%%)", g * 137U % 360, 45 + g * 7 % 20);
  return text;
}

}  // namespace

std::string html_escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

Picture::Picture(const Recording& recording)
    : from_(recording.begin()),
      columns_(std::max(100, std::min(kColumns, kCells / recording.procs()))),
      procs_(recording.procs()) {
  width_ = std::max(1.0, static_cast<double>(recording.end() - recording.begin()) / columns_);
  cells_.resize(static_cast<size_t>(columns_) * static_cast<size_t>(procs_));
  waiting_.resize(static_cast<size_t>(columns_));
}

void Picture::slice(const Slice& s) {
  if (s.place.p < 0) return;
  auto column = [&](Time t) {
    return std::max(0, std::min(columns_ - 1, static_cast<int>(static_cast<double>(t - from_) / width_)));
  };
  int last = column(s.to);
  for (int c = column(s.from); c <= last; c++) {
    Time low = from_ + static_cast<Time>(c * width_);
    Time high = from_ + static_cast<Time>((c + 1) * width_);
    Time part = std::min(high, s.to) - std::max(low, s.from);
    if (part <= 0) continue;
    Cell& cell = cells_[static_cast<size_t>(s.place.p) * static_cast<size_t>(columns_) + static_cast<size_t>(c)];
    cell.busy += part;
    if (cell.g == s.g) {
      cell.weight += part;
    } else if (part > cell.weight) {
      cell.g = s.g;
      cell.weight = part - cell.weight;
    } else {
      cell.weight -= part;
    }
  }
}

void Picture::runnable(Time at, long n) {
  if (at < from_) return;
  auto c = static_cast<size_t>(std::min(columns_ - 1, static_cast<int>(static_cast<double>(at - from_) / width_)));
  waiting_[c] = std::max(waiting_[c], n);
}

bool Picture::write(int fd, const Model& model) const {
  FILE* to = fd >= 0 ? fdopen(fd, "w") : nullptr;
  if (!to) return false;
  char* text = nullptr;
  size_t length = 0;
  FILE* memory = open_memstream(&text, &length);
  model.summary(memory);
  fclose(memory);
  std::string summary(text, length);
  free(text);
  int height = procs_ * kRow + kCurve + 40;
  fprintf(to,
          "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>goshim timeline</title>\n<style>body{font:14px "
          "sans-serif}svg text{font:12px sans-serif}pre{font-size:13px}</style></head><body>\n"
          "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\">\n",
          kLabel + kColumns + 10, height);
  double x_scale = static_cast<double>(kColumns) / columns_;
  for (int p = 0; p < procs_; p++) {
    int y = p * kRow;
    fprintf(to, "<text x=\"0\" y=\"%d\">P%d</text><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"#eee\"/>\n",
            y + 15, p, kLabel, y, kColumns, kRow - 3);
    const Cell* row = &cells_[static_cast<size_t>(p) * static_cast<size_t>(columns_)];
    for (int c = 0; c < columns_;) {
      // Neighbours that look the same are one rectangle.
      auto shade = [&](int i) { return static_cast<int>(10.0 * static_cast<double>(row[i].busy) / width_ + 0.9); };
      int end = c + 1;
      while (end < columns_ && row[end].g == row[c].g && shade(end) == shade(c)) end++;
      if (row[c].busy > 0) {
        fprintf(to,
                "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\" opacity=\"%.1f\"><title>%s, "
                "%s</title></rect>\n",
                kLabel + c * x_scale, y, (end - c) * x_scale, kRow - 3, colour(row[c].g).c_str(),
                std::min(1.0, 0.2 + 0.08 * shade(c)), html_escaped(printable(model.label(row[c].g))).c_str(),
                duration(static_cast<Time>(c * width_)).c_str());
      }
      c = end;
    }
  }
  long most = std::max(1L, *std::max_element(waiting_.begin(), waiting_.end()));
  int base = procs_ * kRow + kCurve;
  fprintf(to,
          "<text x=\"0\" y=\"%d\">runnable</text><text x=\"0\" y=\"%d\">(max %ld)</text><path fill=\"#c66\" d=\"M%d,%d",
          base - 20, base - 5, most, kLabel, base);
  for (int c = 0; c < columns_; c++) {
    double y = base - static_cast<double>(std::max(0L, waiting_[static_cast<size_t>(c)])) * (kCurve - 10) /
                          static_cast<double>(most);
    fprintf(to, "L%.1f,%.1fL%.1f,%.1f", kLabel + c * x_scale, y, kLabel + (c + 1) * x_scale, y);
  }
  fprintf(to, "L%d,%dZ\"/>\n", kLabel + kColumns, base);
  for (int i = 0; i <= 10; i++) {
    fprintf(to, "<text x=\"%d\" y=\"%d\" text-anchor=\"%s\">%s</text>\n", kLabel + kColumns * i / 10, base + 18,
            i == 0    ? "start"
            : i == 10 ? "end"
                      : "middle",
            duration(static_cast<Time>(width_ * columns_ * i / 10)).c_str());
  }
  fprintf(to, "</svg>\n<pre>%s</pre>\n</body></html>\n", html_escaped(summary).c_str());
  bool failed = ferror(to) != 0;
  return fclose(to) == 0 && !failed;
}

}  // namespace launcher::trace
