//! The picture of a comparison: a panel a scenario, a bar a peer, as long as a request costs CPU beside nginx.
//!
//! Plain SVG without scripts, fonts or files of others. It brings a ground of its own, and the colours of the
//! reader's theme where that is known.

use std::fmt::Write as _;

use super::table::{Cell, MEASURE, Row, Table};
use crate::figure::number;

/// Colours: dark ones on a light ground, and the other way about for readers with a dark theme.
const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1f2328}\
.ground{fill:#ffffff}.title{font-weight:600;font-size:13px}.small{font-size:11px;fill:#59636e}\
.peer{fill:#9aa4af}.bare{fill:#f2b28a}.stoa{fill:#d4570c}.measure{stroke:#1f2328;stroke-dasharray:3 2}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.ground{fill:#0d1117}.small{fill:#9198a1}\
.peer{fill:#5b6672}.bare{fill:#8a5a3b}.stoa{fill:#f08445}.measure{stroke:#e6edf3}}";

/// All lengths are in the units of the picture, which is so wide.
const WIDTH: f64 = 880.0;
const MARGIN: f64 = 20.0;
const COLUMNS: usize = 2;
const COLUMN: f64 = (WIDTH - 2.0 * MARGIN) / 2.0;
/// What stands above the panels.
const HEAD: f64 = 58.0;
/// A panel's title, and the room below its bars.
const TITLE: f64 = 20.0;
const GAP: f64 = 18.0;
/// From one bar to the next, and how thick one is.
const STEP: f64 = 16.0;
const THICKNESS: f64 = 11.0;
/// Where bars begin within a panel: names stand before them.
const BEGIN: f64 = 70.0;
/// How long a bar is that costs as much as nginx.
const UNIT: f64 = 90.0;
/// Where a bar is broken off; its figure says how long it would be.
const LONGEST: f64 = 2.5;
/// How many characters a line of the caption holds.
const LINE: usize = 125;
const LINE_HEIGHT: f64 = 15.0;

/// Draws it, with `caption` below.
pub(super) fn draw(table: &Table, caption: &[String]) -> String {
    let panel = TITLE + number(table.peers.len()) * STEP + GAP;
    let captions: Vec<_> = caption.iter().flat_map(|sentence| lines(sentence)).collect();
    let below = HEAD + number(table.rows.len().div_ceil(COLUMNS)) * panel;
    let height = below + number(captions.len()) * LINE_HEIGHT + MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>CPU time of a request, Stoa beside its peers</title>\n<style>{STYLE}</style>\n\
         <rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\" rx=\"8\"/>\n"
    );
    text(
        &mut svg,
        "title",
        (MARGIN, 24.0),
        "CPU time of a request, as a multiple of nginx's in the same run",
    );
    text(
        &mut svg,
        "small",
        (MARGIN, 42.0),
        "Shorter is better; the dashed line is nginx. Beside each bar: the multiple, and the microseconds themselves.",
    );
    for (at, row) in table.rows.iter().enumerate() {
        let (x, y) = (number(at % COLUMNS) * COLUMN + MARGIN, number(at / COLUMNS) * panel + HEAD);
        draw_panel(&mut svg, (x, y), row, &table.peers);
    }
    for (at, line) in captions.iter().enumerate() {
        text(&mut svg, "small", (MARGIN, below + number(at) * LINE_HEIGHT + 8.0), line);
    }
    svg + "</svg>\n"
}

fn draw_panel(svg: &mut String, (x, y): (f64, f64), row: &Row, peers: &[String]) {
    text(svg, "title", (x, y + 12.0), row.scenario);
    for (at, (peer, cell)) in peers.iter().zip(&row.cells).enumerate() {
        let top = y + TITLE + number(at) * STEP;
        text(svg, "", (x, top + THICKNESS - 1.0), peer);
        draw_bar(svg, (x + BEGIN, top), peer, *cell);
    }
    let (line, end) = (x + BEGIN + UNIT, y + TITLE + number(peers.len()) * STEP);
    // Writing to a string does not fail.
    let _written = writeln!(
        svg,
        "<line class=\"measure\" x1=\"{line:.1}\" y1=\"{:.1}\" x2=\"{line:.1}\" y2=\"{end:.1}\"/>",
        y + TITLE - 3.0
    );
}

fn draw_bar(svg: &mut String, (x, y): (f64, f64), peer: &str, cell: Option<Cell>) {
    let Some(Cell { micros, ratio }) = cell else {
        return text(svg, "small", (x + 4.0, y + THICKNESS - 1.0), "did not run");
    };
    let class = if peer == "stoa" || peer == "bare" { peer } else { "peer" };
    let length = ratio.unwrap_or(0.0).min(LONGEST) * UNIT;
    let (end, bottom, middle) = (x + length, y + THICKNESS, y + THICKNESS / 2.0);
    // A bar that is broken off ends in a notch.
    let notch = if ratio.is_some_and(|ratio| ratio > LONGEST) { end - 6.0 } else { end };
    let _written = writeln!(
        svg,
        "<path class=\"{class}\" d=\"M{x:.1} {y:.1}H{end:.1}L{notch:.1} {middle:.1}L{end:.1} {bottom:.1}H{x:.1}Z\"/>"
    );
    let figure = match ratio {
        Some(_) if peer == MEASURE => format!("{micros:.1} µs"),
        Some(ratio) => format!("{ratio:.2} × · {micros:.1} µs"),
        None => format!("{micros:.1} µs"),
    };
    text(svg, "small", ((x + length).max(x + UNIT) + 6.0, y + THICKNESS - 1.0), &figure);
}

fn text(svg: &mut String, class: &str, (x, y): (f64, f64), text: &str) {
    let _written = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escape(text));
}

/// As text or as the value of an attribute (XML 1.0, §2.4).
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML has no place for these at all.
            character if character.is_control() => escaped.push(' '),
            character => escaped.push(character),
        }
    }
    escaped
}

/// Breaks a sentence between words.
fn lines(sentence: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in sentence.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= LINE => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(peer: &str) -> Table {
        let cell = |micros, ratio| Some(Cell { micros, ratio: Some(ratio) });
        let row = Row { scenario: "http1-get-1k", cells: vec![cell(81.0, 2.37), cell(34.2, 1.0), None] };
        let dear = Row {
            scenario: "http2-get-1k",
            cells: vec![cell(67.0, 2.09), cell(32.0, 1.0), cell(239.0, 7.5)],
        };
        let cheap =
            Row { scenario: "handshake-full", cells: vec![cell(306.0, 0.52), cell(588.0, 1.0), None] };
        Table {
            peers: vec!["stoa".into(), "nginx".into(), peer.into()],
            rows: vec![row, dear, cheap],
            spread_percent: 3.0,
        }
    }

    /// The text between the tags, once every tag is closed in its order and every value is quoted.
    fn read(svg: &str) -> Vec<String> {
        let (mut open, mut texts) = (Vec::new(), Vec::new());
        for piece in svg.split('<').skip(1) {
            let (tag, text) = piece.split_once('>').expect("a tag ends");
            assert!(!text.contains('>'), "bare `>`: {text}");
            texts.push(text.to_owned());
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "{tag}");
                continue;
            }
            let (name, attributes) = tag.trim_end_matches('/').split_once(' ').unwrap_or((tag, ""));
            let quotes: Vec<_> = attributes.split('"').collect();
            assert!(quotes.len() % 2 == 1, "{tag}");
            assert!(quotes.iter().step_by(2).all(|name| name.is_empty() || name.ends_with('=')), "{tag}");
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "{open:?}");
        let entities = texts.iter().flat_map(|text| text.split('&').skip(1));
        entities
            .for_each(|rest| assert!(["amp;", "lt;", "gt;", "quot;"].iter().any(|it| rest.starts_with(it))));
        texts
    }

    #[test]
    fn the_picture_is_well_formed_and_shows_everybody() {
        let texts = read(&draw(&table("caddy"), &["A machine.".to_owned(), "word ".repeat(100)]));
        for wanted in
            ["http1-get-1k", "handshake-full", "stoa", "nginx", "caddy", "A machine.", "did not run"]
        {
            assert!(texts.iter().any(|text| text == wanted), "{wanted}: {texts:?}");
        }
        assert!(texts.iter().any(|text| text.starts_with("7.50 ×")), "{texts:?}");
    }

    #[test]
    fn text_is_escaped() {
        let texts = read(&draw(&table("a<b>&\"c"), &["x < y & z\u{7}!".to_owned()]));
        assert!(texts.contains(&"a&lt;b&gt;&amp;&quot;c".to_owned()));
        assert!(texts.contains(&"x &lt; y &amp; z !".to_owned()));
    }

    #[test]
    fn no_bar_leaves_its_panel() {
        let svg = draw(&table("caddy"), &[]);
        let ends =
            svg.split("H").skip(1).filter_map(|rest| rest.split(['L', 'Z']).next()?.parse::<f64>().ok());
        assert!(ends.clone().count() > 0);
        assert!(ends.into_iter().all(|end| end <= WIDTH - MARGIN), "{svg}");
    }

    #[test]
    fn sentences_break_between_words() {
        let broken = lines(&"word ".repeat(60));
        assert_eq!(broken.iter().map(|line| line.split(' ').count()).sum::<usize>(), 60);
        assert!(broken.len() > 1 && broken.iter().all(|line| line.len() <= LINE));
    }
}
