#pragma once
// Pictures for the report, as text of inline SVG elements: the same bytes for the same numbers.
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quaver {

// For text between tags and in quoted attributes; other control characters than line ends and tabs
// become U+FFFD.
std::string html_escaped(std::string_view s);

// A short decimal form: 0.00312, 4.25, 1.2e+06.
std::string short_number(double value);

// A cell a value, colours by the logarithm where `logarithmic`; cells that are NaN stay empty.
struct HeatMap {
  std::vector<std::string> rows;  // labels
  std::vector<std::string> columns;
  std::vector<std::vector<double>> values;  // [rows][columns]
  std::string unit;                         // stands behind a value in its tooltip
  bool logarithmic = true;
};
std::string svg_of(const HeatMap& map);

struct LineChart {
  struct Series {
    std::string label;
    std::vector<std::pair<double, double>> points;
  };
  std::string x_label, y_label;
  std::vector<Series> series;
  bool filled = false;  // the area below the lines
};
std::string svg_of(const LineChart& chart);

}  // namespace quaver
