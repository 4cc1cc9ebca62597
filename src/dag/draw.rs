//! The recent DAG as `git log --graph` would draw it.
//!
//! A column stands for a line that runs down to a transaction still to come; column k is drawn at character 2k. What a
//! transaction changes is drawn in steps of one line or two: a fan-out for each further parent, then a collapse for each
//! pair of columns that run to the same transaction, then the end of a line without parents.

/// A transaction to draw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its short id.
    pub id: String,
    /// Its parents among the nodes, by place, all further down; others are ignored.
    pub parents: Vec<usize>,
    /// Whether it has parents that are not among the nodes, though present.
    pub has_older: bool,
    /// What to put in parentheses behind the id: that it is a head, dangling, the tip of a fork.
    pub marks: Vec<String>,
    /// What it is about, on one line.
    pub label: String,
}

/// Draws nodes, newest first, into lines without their ends.
///
/// Costs the number of lines times the number of lines that run beside each other.
#[must_use]
pub fn draw(nodes: &[Node]) -> Vec<String> {
    let mut drawing = Drawing::default();
    for (place, node) in nodes.iter().enumerate() {
        drawing.node(place, node, nodes.len());
    }
    drawing.lines
}

#[derive(Default)]
struct Drawing {
    /// The node that each column runs down to.
    columns: Vec<usize>,
    lines: Vec<String>,
}

impl Drawing {
    fn node(&mut self, place: usize, node: &Node, count: usize) {
        let column = self.columns.iter().position(|&target| target == place).unwrap_or_else(|| {
            self.columns.push(place);
            self.columns.len() - 1
        });
        self.line(|canvas, columns| {
            canvas.bars(0..columns.len());
            canvas.put(2 * column, '*');
            canvas.text(&text(node));
        });
        let mut parents: Vec<usize> = Vec::new();
        for &parent in node.parents.iter().filter(|parent| (place + 1..count).contains(parent)) {
            if !parents.contains(&parent) {
                parents.push(parent);
            }
        }
        if node.has_older && parents.is_empty() {
            self.line(|canvas, columns| {
                canvas.bars(0..columns.len());
                canvas.put(2 * column, '~');
            });
        }
        self.follow(column, &parents);
        while let Some((to, from)) = self.find_pair() {
            self.collapse(to, from);
        }
    }

    /// Lets a node's column run to its first parent, and draws a new one beside it for each other.
    fn follow(&mut self, column: usize, parents: &[usize]) {
        let Some((&first, others)) = parents.split_first() else { return self.end(column) };
        if let Some(target) = self.columns.get_mut(column) {
            *target = first;
        }
        for &parent in others.iter().rev() {
            self.line(|canvas, columns| {
                canvas.bars(0..column + 1);
                canvas.slants(column..columns.len(), '\\', 1);
            });
            self.columns.insert(column + 1, parent);
        }
    }

    /// Ends a column; those right of it move up.
    fn end(&mut self, column: usize) {
        if column + 1 < self.columns.len() {
            self.line(|canvas, columns| {
                canvas.bars(0..column);
                canvas.slants(column + 1..columns.len(), '/', -1);
            });
        }
        self.columns.remove(column);
    }

    /// The leftmost two columns that run to the same node.
    fn find_pair(&self) -> Option<(usize, usize)> {
        let twin = |(to, target): (usize, &usize)| {
            let from = self.columns.iter().skip(to + 1).position(|other| other == target)?;
            Some((to, to + 1 + from))
        };
        self.columns.iter().enumerate().find_map(twin)
    }

    /// Leads the column `from` into the column `to` left of it, over those between.
    fn collapse(&mut self, to: usize, from: usize) {
        self.line(|canvas, columns| {
            canvas.bars(0..from);
            canvas.slants(from..columns.len(), '/', -1);
            for between in to + 1..from.saturating_sub(1) {
                canvas.put(2 * between + 1, '_');
            }
        });
        self.columns.remove(from);
        if from > to + 1 {
            self.line(|canvas, columns| {
                canvas.bars(0..columns.len());
                canvas.put(2 * to + 1, '/');
            });
        }
    }

    fn line(&mut self, draw: impl FnOnce(&mut Canvas, &[usize])) {
        let mut canvas = Canvas::default();
        draw(&mut canvas, &self.columns);
        self.lines.push(canvas.0.into_iter().collect::<String>().trim_end().to_owned());
    }
}

/// One line, drawn by character.
#[derive(Default)]
struct Canvas(Vec<char>);

impl Canvas {
    fn put(&mut self, at: usize, character: char) {
        if self.0.len() <= at {
            self.0.resize(at + 1, ' ');
        }
        if let Some(slot) = self.0.get_mut(at) {
            *slot = character;
        }
    }

    fn bars(&mut self, columns: std::ops::Range<usize>) {
        for column in columns {
            self.put(2 * column, '|');
        }
    }

    /// Draws columns on their way one to the right (1) or to the left (-1).
    fn slants(&mut self, columns: std::ops::Range<usize>, character: char, aside: isize) {
        for column in columns {
            self.put((2 * column).saturating_add_signed(aside), character);
        }
    }

    fn text(&mut self, text: &str) {
        self.0.push(' ');
        self.0.extend(text.chars());
    }
}

/// What stands behind a node, on one line whatever its label holds.
fn text(node: &Node) -> String {
    let marks = if node.marks.is_empty() { String::new() } else { format!(" ({})", node.marks.join(", ")) };
    let text = format!("{}{marks} {}", node.id, node.label);
    text.chars().map(|character| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character }).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drawn(parents: &[&[usize]]) -> String {
        let node = |(place, parents): (usize, &&[usize])| Node { id: place.to_string(), parents: parents.to_vec(), ..Node::default() };
        let nodes: Vec<Node> = parents.iter().enumerate().map(node).collect();
        draw(&nodes).join("\n")
    }

    #[test]
    fn a_chain() {
        assert_eq!(drawn(&[&[1], &[2], &[]]), "* 0\n* 1\n* 2");
    }

    #[test]
    fn a_merge_of_two_branches() {
        assert_eq!(
            drawn(&[&[1, 2], &[3], &[3], &[]]),
            r"
* 0
|\
* | 1
| * 2
|/
* 3"
            .trim_start()
        );
    }

    #[test]
    fn two_heads() {
        assert_eq!(
            drawn(&[&[2], &[3], &[3], &[]]),
            r"
* 0
| * 1
* | 2
|/
* 3"
            .trim_start()
        );
    }

    #[test]
    fn an_octopus() {
        assert_eq!(
            drawn(&[&[1, 2, 3], &[4], &[4], &[4], &[]]),
            r"
* 0
|\
|\ \
* | | 1
| * | 2
|/ /
| * 3
|/
* 4"
            .trim_start()
        );
    }

    #[test]
    fn a_line_crosses_others() {
        assert_eq!(
            drawn(&[&[4], &[5], &[6], &[4], &[7], &[7], &[7], &[]]),
            r"
* 0
| * 1
| | * 2
| | | * 3
| |_|/
|/| |
* | | 4
| * | 5
|/ /
| * 6
|/
* 7"
            .trim_start()
        );
    }

    #[test]
    fn a_root_ends_its_line() {
        assert_eq!(drawn(&[&[], &[2], &[]]), "* 0\n* 1\n* 2");
        assert_eq!(
            drawn(&[&[1, 2, 3], &[], &[4], &[4], &[]]),
            r"
* 0
|\
|\ \
* | | 1
 / /
* | 2
| * 3
|/
* 4"
            .trim_start()
        );
    }

    #[test]
    fn marks_and_labels_stand_behind() {
        let head = Node {
            id: "1a2b".into(),
            parents: vec![1],
            marks: vec!["head".into(), "fork: account-0".into()],
            label: "2 events\nof ann".into(),
            ..Node::default()
        };
        let old = Node { id: "3c4d".into(), has_older: true, label: "1 event".into(), ..Node::default() };
        assert_eq!(draw(&[head, old]), ["* 1a2b (head, fork: account-0) 2 events\u{FFFD}of ann", "* 3c4d 1 event", "~"]);
    }

    proptest! {
        #[test]
        fn anything_is_drawn(parents in prop::collection::vec(prop::collection::vec(0..30usize, 0..4), 0..24)) {
            let slices: Vec<&[usize]> = parents.iter().map(Vec::as_slice).collect();
            let text = drawn(&slices);
            prop_assert_eq!(text.matches('*').count(), parents.len());
            let nodes: Vec<Node> = slices.iter().map(|parents| Node { parents: parents.to_vec(), ..Node::default() }).collect();
            prop_assert!(draw(&nodes).iter().all(|line| line.trim_end() == line));
        }
    }
}
