#include "api/svg.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>

#include "core/error.h"

namespace quaver {
namespace {

constexpr double chart_width = 900, chart_height = 280;

// Dark blue over teal to yellow, of even steps in lightness.
struct Colour {
  double r, g, b;
};
constexpr std::array<Colour, 5> ramp{
    {{38, 48, 110}, {36, 104, 142}, {38, 156, 133}, {124, 200, 84}, {250, 226, 60}}};
constexpr std::array<const char*, 8> line_colours{"#2b6cb0", "#c05621", "#2f855a", "#b83280",
                                                  "#6b46c1", "#b7791f", "#2c7a7b", "#9b2c2c"};

std::string hex_colour(double share) {
  const double at = std::clamp(share, 0.0, 1.0) * (ramp.size() - 1);
  const auto i = std::min(static_cast<std::size_t>(at), ramp.size() - 2);
  const double t = at - static_cast<double>(i);
  const auto mix = [t](double a, double b) {
    return static_cast<int>(std::lround(a + t * (b - a)));
  };
  char out[8];
  std::snprintf(out, sizeof out, "#%02x%02x%02x", mix(ramp[i].r, ramp[i + 1].r),
                mix(ramp[i].g, ramp[i + 1].g), mix(ramp[i].b, ramp[i + 1].b));
  return out;
}

std::string place(double v) {
  char out[32];
  std::snprintf(out, sizeof out, "%.1f", v);
  return out;
}

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void add(double v) {
    if (!std::isfinite(v)) return;
    low = std::min(low, v);
    high = std::max(high, v);
  }
  bool empty() const { return low > high; }
  double share(double v) const { return high > low ? (v - low) / (high - low) : 0.5; }
};

double step_for(double span) {  // 1, 2 or 5 times a power of ten; some five of them
  const double raw = span / 5, power = std::pow(10, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (raw <= factor * power) return factor * power;
  return 10 * power;
}

std::string text_at(double x, double y, const char* anchor, std::string_view words) {
  return text("<text x=\"", place(x), "\" y=\"", place(y), "\" text-anchor=\"", anchor, "\">",
              html_escaped(words), "</text>");
}

// Ticks and grid lines of both axes inside `plot`.
struct Plot {
  double left = 70, top = 12, right = chart_width - 12, bottom = chart_height - 42;
  Range x, y;
  double at_x(double v) const { return left + x.share(v) * (right - left); }
  double at_y(double v) const { return bottom - y.share(v) * (bottom - top); }
};

std::string axes(const Plot& p, const LineChart& chart) {
  std::string out;
  const double dx = step_for(std::max(p.x.high - p.x.low, 1e-300));
  for (double v = std::ceil(p.x.low / dx) * dx; v <= p.x.high + dx * 1e-9; v += dx)
    out += text_at(p.at_x(v), p.bottom + 16, "middle", short_number(v));
  const double dy = step_for(std::max(p.y.high - p.y.low, 1e-300));
  for (double v = std::ceil(p.y.low / dy) * dy; v <= p.y.high + dy * 1e-9; v += dy) {
    const std::string y = place(p.at_y(v));
    out += text("<line class=\"grid\" x1=\"", place(p.left), "\" x2=\"", place(p.right), "\" y1=\"",
                y, "\" y2=\"", y, "\"/>");
    out += text_at(p.left - 6, p.at_y(v) + 4, "end", short_number(v));
  }
  out += text_at((p.left + p.right) / 2, chart_height - 6, "middle", chart.x_label);
  return out + text("<text x=\"14\" y=\"", place((p.top + p.bottom) / 2),
                    "\" text-anchor=\"middle\" transform=\"rotate(-90 14 ",
                    place((p.top + p.bottom) / 2), ")\">", html_escaped(chart.y_label), "</text>");
}

// What the colours from the least to the greatest value mean.
std::string colour_bar(const Range& values, double x, double y, const std::string& unit) {
  if (values.empty()) return {};
  constexpr int steps = 40;
  const std::string low = short_number(values.low) + unit, high = short_number(values.high) + unit;
  std::string out = text_at(x, y + 10, "start", low);
  const double begin = x + 8 + 6.5 * static_cast<double>(low.size());
  for (int i = 0; i < steps; ++i)
    out += text("<rect x=\"", place(begin + 3.0 * i), "\" y=\"", place(y),
                "\" width=\"3.2\" height=\"12\" fill=\"", hex_colour(i / (steps - 1.0)), "\"/>");
  return out + text_at(begin + 3.0 * steps + 8, y + 10, "start", high);
}

}  // namespace

std::string html_escaped(std::string_view s) {
  std::string out;
  for (const char c : s) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\'')
      out += "&#39;";
    else if ((static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
      out += "\xEF\xBF\xBD";
    else
      out += c;
  }
  return out;
}

std::string short_number(double value) {
  char out[32];
  std::snprintf(out, sizeof out, "%.3g", value == 0 ? 0.0 : value);
  return out;
}

std::string svg_of(const HeatMap& map) {
  const auto scale = [&](double v) { return map.logarithmic ? std::log(v) : v; };
  const auto shown = [&](double v) { return std::isfinite(v) && (!map.logarithmic || v > 0); };
  Range range, values;
  std::size_t longest = 0;
  for (const std::string& row : map.rows) longest = std::max(longest, row.size());
  for (const auto& row : map.values)
    for (const double v : row)
      if (shown(v)) range.add(scale(v)), values.add(v);
  const double left = 12 + 6.5 * static_cast<double>(longest), height = 20;
  const double columns = static_cast<double>(std::max<std::size_t>(map.columns.size(), 1));
  const double width = std::clamp((chart_width - left) / columns, 3.0, 44.0);
  const double bottom = height * static_cast<double>(map.rows.size());
  std::string out =
      text("<svg viewBox=\"0 0 ", place(chart_width), " ", place(bottom + 46), "\" role=\"img\">");
  for (std::size_t r = 0; r < map.rows.size(); ++r) {
    const double y = height * static_cast<double>(r);
    out += text_at(left - 6, y + 14, "end", map.rows[r]);
    for (std::size_t c = 0; c < map.columns.size(); ++c) {
      const double v = map.values[r][c];
      if (std::isnan(v)) continue;
      const std::string colour = shown(v) ? hex_colour(range.share(scale(v))) : "#888";
      out += text("<rect x=\"", place(left + width * static_cast<double>(c)), "\" y=\"", place(y),
                  "\" width=\"", place(width - 1), "\" height=\"", place(height - 1), "\" fill=\"",
                  colour, "\"><title>", html_escaped(map.rows[r]), ", layer ",
                  html_escaped(map.columns[c]), ": ", short_number(v), html_escaped(map.unit),
                  "</title></rect>");
    }
  }
  const std::size_t every = 1 + map.columns.size() / 40;
  for (std::size_t c = 0; c < map.columns.size(); c += every)
    out += text_at(left + width * (static_cast<double>(c) + 0.5), bottom + 14, "middle",
                   map.columns[c]);
  return out + colour_bar(values, left, bottom + 26, map.unit) + "</svg>\n";
}

std::string svg_of(const LineChart& chart) {
  Plot p;
  for (const auto& series : chart.series)
    for (const auto& [x, y] : series.points) p.x.add(x), p.y.add(y);
  if (p.x.empty() || p.y.empty()) return {};
  p.y.low = std::min(p.y.low, 0.0);
  if (p.y.high <= p.y.low) p.y.high = p.y.low + 1;
  std::string out = text("<svg viewBox=\"0 0 ", place(chart_width), " ", place(chart_height),
                         "\" role=\"img\">", axes(p, chart));
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    const LineChart::Series& series = chart.series[i];
    if (series.points.empty()) continue;
    std::string points;
    for (const auto& [x, y] : series.points)
      points += text(points.empty() ? "" : " ", place(p.at_x(x)), ",", place(p.at_y(y)));
    const char* colour = line_colours[i % line_colours.size()];
    if (chart.filled)
      out += text("<polygon fill=\"", colour, "\" fill-opacity=\"0.2\" points=\"",
                  place(p.at_x(series.points.front().first)), ",", place(p.bottom), " ", points,
                  " ", place(p.at_x(series.points.back().first)), ",", place(p.bottom), "\"/>");
    out += text("<polyline fill=\"none\" stroke=\"", colour, "\" stroke-width=\"1.8\" points=\"",
                points, "\"><title>", html_escaped(series.label), "</title></polyline>");
  }
  out += "</svg>\n";
  if (chart.series.size() < 2) return out;
  out += "<p class=\"legend\">";
  for (std::size_t i = 0; i < chart.series.size(); ++i)
    out += text("<span><i style=\"background:", line_colours[i % line_colours.size()], "\"></i>",
                html_escaped(chart.series[i].label), "</span> ");
  return out + "</p>\n";
}

}  // namespace quaver
