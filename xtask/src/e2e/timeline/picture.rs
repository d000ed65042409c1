//! A timeline as a picture, in SVG: the charts above each other with one axis of time, and what happened as numbered lines
//! through all of them, which are told below.

use std::fmt::Write as _;
use std::time::Duration;

use super::scale::Scale;
use super::{Chart, Line, Style, Timeline, seconds};

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 60.0;
/// For the legends.
const RIGHT: f64 = 180.0;
const TITLE: f64 = 40.0;
const CHART: f64 = 150.0;
const GAP: f64 = 34.0;
const AXIS: f64 = 40.0;
const ROW: f64 = 16.0;
/// Characters of a mark's text that fit.
const LONGEST: usize = 170;
/// The colours of Okabe and Ito, which colour-blind people can tell apart too.
const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000",
];

impl Timeline {
    /// The picture.
    #[must_use]
    pub fn picture(&self) -> String {
        let charts = self.charts.len() as f64 * (CHART + GAP);
        let height = TITLE + charts + AXIS + (self.marks.len() as f64 + 1.0) * ROW;
        let time = Time::new(self.end());
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
             font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\" font-size=\"11\">\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
        );
        label(
            &mut svg,
            Anchor::Start,
            (LEFT, 22.0),
            "font-size=\"15\"",
            &self.title,
        );
        let bottom = TITLE + charts;
        // What is drawn later lies above: the figures matter most.
        time.draw(&mut svg, TITLE, bottom);
        self.draw_marks(&mut svg, &time, bottom);
        for (number, chart) in self.charts.iter().enumerate() {
            let top = TITLE + number as f64 * (CHART + GAP) + GAP - 8.0;
            draw_chart(&mut svg, chart, &time, top);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn draw_marks(&self, svg: &mut String, time: &Time, bottom: f64) {
        let mut last = f64::NEG_INFINITY;
        for (number, mark) in self.marks.iter().enumerate() {
            let number = number + 1;
            let x = time.x(mark.at);
            element(
                svg,
                &format!(
                    "<line x1=\"{x:.1}\" y1=\"{TITLE}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#999999\" \
                     stroke-width=\"0.7\" stroke-dasharray=\"3 3\"/>"
                ),
            );
            // Where they are close, the list below tells them apart.
            if x - last > 14.0 {
                let place = (x, TITLE - 2.0);
                label(
                    svg,
                    Anchor::Middle,
                    place,
                    "fill=\"#666666\"",
                    &number.to_string(),
                );
                last = x;
            }
            let y = bottom + AXIS + number as f64 * ROW;
            let at = seconds(mark.at);
            label(
                svg,
                Anchor::End,
                (LEFT - 20.0, y),
                "fill=\"#666666\"",
                &number.to_string(),
            );
            label(svg, Anchor::End, (LEFT + 40.0, y), "", &at);
            label(
                svg,
                Anchor::Start,
                (LEFT + 54.0, y),
                "font-weight=\"bold\"",
                &mark.who,
            );
            label(
                svg,
                Anchor::Start,
                (LEFT + 150.0, y),
                "",
                &shortened(&mark.what),
            );
        }
    }
}

/// The axis of time.
struct Time {
    scale: Scale,
}

impl Time {
    fn new(end: Duration) -> Self {
        Self {
            scale: Scale::new([end.as_secs_f64()], 12),
        }
    }

    fn x(&self, at: Duration) -> f64 {
        LEFT + self.scale.share(at.as_secs_f64()) * (WIDTH - LEFT - RIGHT)
    }

    fn draw(&self, svg: &mut String, top: f64, bottom: f64) {
        for tick in self.scale.ticks() {
            let x = self.x(Duration::from_secs_f64(tick.max(0.0)));
            element(
                svg,
                &format!(
                    "<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"#eeeeee\"/>",
                    bottom + 4.0
                ),
            );
            let text = format!("{} s", self.scale.label(tick));
            label(svg, Anchor::Middle, (x, bottom + 17.0), "", &text);
        }
    }
}

fn draw_chart(svg: &mut String, chart: &Chart, time: &Time, top: f64) {
    let values = chart.lines.iter().flat_map(|line| &line.points);
    let scale = Scale::new(values.map(|point| point.value), 5);
    let y = |value: f64| top + CHART * (1.0 - scale.share(value));
    label(
        svg,
        Anchor::Start,
        (LEFT, top - 6.0),
        "font-weight=\"bold\"",
        &chart.title,
    );
    for tick in scale.ticks() {
        let (y, right) = (y(tick), WIDTH - RIGHT);
        element(
            svg,
            &format!(
                "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/>"
            ),
        );
        let text = scale.label(tick);
        label(svg, Anchor::End, (LEFT - 6.0, y + 4.0), "", &text);
    }
    for (number, line) in chart.lines.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        draw_line(svg, line, colour, |at| time.x(at), y);
        let place = (WIDTH - RIGHT + 12.0, top + 12.0 + number as f64 * ROW);
        label(
            svg,
            Anchor::Start,
            place,
            &format!("fill=\"{colour}\""),
            &line.name,
        );
    }
}

fn draw_line(
    svg: &mut String,
    line: &Line,
    colour: &str,
    x: impl Fn(Duration) -> f64,
    y: impl Fn(f64) -> f64,
) {
    if line.style == Style::Dots {
        for point in &line.points {
            let (x, y) = (x(point.at), y(point.value));
            element(
                svg,
                &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\" fill=\"{colour}\"/>"),
            );
        }
        return;
    }
    let mut path = String::new();
    for point in &line.points {
        let (x, y) = (x(point.at), y(point.value));
        // Writing to a String cannot fail.
        let _ = match (path.is_empty(), line.style) {
            (true, _) => write!(path, "M{x:.1} {y:.1}"),
            (false, Style::Steps) => write!(path, "H{x:.1}V{y:.1}"),
            (false, _) => write!(path, "L{x:.1} {y:.1}"),
        };
    }
    if !path.is_empty() {
        element(
            svg,
            &format!("<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>"),
        );
    }
}

enum Anchor {
    Start,
    Middle,
    End,
}

fn label(svg: &mut String, anchor: Anchor, (x, y): (f64, f64), attributes: &str, text: &str) {
    let anchor = match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    let text = escaped(text);
    element(
        svg,
        &format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {attributes}>{text}</text>"
        ),
    );
}

fn element(svg: &mut String, text: &str) {
    svg.push_str(text);
    svg.push('\n');
}

/// XML has no characters for most of what controls a terminal.
fn escaped(text: &str) -> String {
    let visible = text.replace(|c: char| c.is_control(), " ");
    visible
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;

    #[test]
    fn steps_go_across_before_they_go_up_and_text_is_escaped() {
        let svg = example().picture();
        // 20 s are the whole width of 960, from 60; the weights 0 to 100 a height of 150, down to 216.
        assert!(
            svg.contains("d=\"M60.0 216.0H540.0V208.5H1020.0V66.0\""),
            "{svg}"
        );
        assert!(svg.contains("cx=\"780.0\" cy=\"208.2\""), "{svg}");
        assert!(svg.contains(">releases v2 &amp; waits</text>"), "{svg}");
        assert!(svg.ends_with("</svg>\n"));
    }

    #[test]
    fn a_curve_goes_straight_and_an_empty_line_nowhere() {
        let mut timeline = example();
        timeline.charts[0].lines[0].style = Style::Curve;
        timeline.charts[0].lines[1].points.clear();
        let svg = timeline.picture();
        assert!(
            svg.contains("d=\"M60.0 216.0L540.0 208.5L1020.0 66.0\""),
            "{svg}"
        );
        assert!(!svg.contains("<circle"), "{svg}");
    }

    #[test]
    fn nothing_has_a_picture_too() {
        let svg = Timeline::default().picture();
        assert!(
            svg.contains(">0 s</text>") || svg.contains(">0.0 s</text>"),
            "{svg}"
        );
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn what_is_too_long_is_shortened_at_a_character() {
        let text = "é".repeat(LONGEST + 1);
        assert_eq!(shortened(&text).chars().count(), LONGEST + 1);
        assert_eq!(shortened("short"), "short");
    }
}
