//! `braidfs graph`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use clap::Args;
use clap::builder::RangedU64ValueParser;
use layout::backends::svg::SVGWriter;
use layout::core::base::Orientation;
use layout::core::geometry::Point;
use layout::core::style::StyleAttr;
use layout::std_shapes::render::get_shape_size;
use layout::std_shapes::shapes::{Arrow, Element, ShapeKind};
use layout::topo::layout::VisualGraph;

use super::failure::{Failure, Kind, Result};
use super::harmless::harmless;
use super::{Session, reader};
use crate::dag::draw::{Node, draw};
use crate::view::{GRAPH_TRANSACTIONS_MAX, graph_nodes, graph_transactions};

/// A picture of more is slow to lay out, and nobody can read it.
const SVG_TRANSACTIONS_MAX: usize = 500;

/// The size of letters in a picture.
const FONT_SIZE: usize = 14;

/// Draw the recent transactions, newest first, with heads, forks and what is dangling
///
/// The text is that of graph.txt in a mount. For programs (`--format json`) it is one object a line, newest first: transaction_id,
/// parent_transaction_ids (also those that are not drawn), missing (parents that are not here), replica_id, created_at, streams (events by
/// stream), resolves (streams that it reconciles), and what the drawing marks: head, dangling, conflicts (of which it is a tip).
#[derive(Args)]
pub(super) struct Arguments {
    /// Draw a picture to look at, in SVG
    #[arg(long)]
    svg: bool,
    /// How many transactions are drawn
    #[arg(long, value_name = "N", default_value_t = GRAPH_TRANSACTIONS_MAX, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    last: usize,
    #[command(flatten)]
    moment: reader::Moment,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    if arguments.svg && arguments.last > SVG_TRANSACTIONS_MAX {
        let message = format!("a picture of {} transactions is too large; the limit is {SVG_TRANSACTIONS_MAX}", arguments.last);
        return Err(Failure::new(Kind::Usage, message).hint("leave --svg out, or draw fewer"));
    }
    let tree = reader::tree_at(session, &arguments.moment)?;
    if session.out.is_json() && !arguments.svg {
        let failed = |error: serde_json::Error| Failure::new(Kind::Failed, "the graph cannot be written as JSON").because(&error);
        let drawn = graph_transactions(&tree.epoch().index, arguments.last);
        return drawn.iter().try_for_each(|one| session.out.json(&serde_json::to_value(one).map_err(failed)?));
    }
    let nodes: Vec<Node> = graph_nodes(&tree.epoch().index, arguments.last).into_iter().map(|(_, node)| node).collect();
    if arguments.svg {
        return session.out.bytes(picture(&nodes)?.as_bytes());
    }
    draw(&nodes).iter().try_for_each(|line| session.out.line(harmless(line)))
}

fn picture(nodes: &[Node]) -> Result<String> {
    // The library checks itself with assertions; a picture that it cannot make must not end us with a backtrace.
    catch_unwind(AssertUnwindSafe(|| laid_out(nodes)))
        .map_err(|_| Failure::new(Kind::Failed, "the picture cannot be laid out").hint("draw fewer transactions: --last N"))
}

fn laid_out(nodes: &[Node]) -> String {
    let mut graph = VisualGraph::new(Orientation::TopToBottom);
    let mut handles = Vec::with_capacity(nodes.len());
    for node in nodes {
        let marks = if node.marks.is_empty() { String::new() } else { format!("\n{}", node.marks.join(", ")) };
        let shape = ShapeKind::new_box(&format!("{}\n{}{marks}", node.id, in_xml(&harmless(&node.label))));
        let size: Point = get_shape_size(Orientation::TopToBottom, &shape, FONT_SIZE, false);
        handles.push(graph.add_node(Element::create(shape, StyleAttr::simple(), Orientation::TopToBottom, size)));
    }
    for (node, &from) in nodes.iter().zip(&handles) {
        for &to in node.parents.iter().filter_map(|&parent| handles.get(parent)) {
            graph.add_edge(Arrow::simple(""), from, to);
        }
    }
    let mut writer = SVGWriter::new();
    if !handles.is_empty() {
        graph.do_it(false, false, false, &mut writer);
    }
    writer.finalize() + "\n"
}

/// Text without the two characters that XML has no way to write and that no terminal obeys.
fn in_xml(text: &str) -> String {
    text.replace('\u{fffe}', "\\u{fffe}").replace('\u{ffff}', "\\u{ffff}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_holds_every_transaction_and_nothing_of_its_names_is_markup() {
        let node = |id: &str, parents: &[usize]| Node {
            id: id.to_owned(),
            parents: parents.to_vec(),
            label: "<script>&".to_owned(),
            ..Node::default()
        };
        let picture = picture(&[node("n-0", &[1, 2]), node("n-1", &[3]), node("n-2", &[3]), node("n-3", &[])]).unwrap();
        for id in ["n-0", "n-1", "n-2", "n-3"] {
            assert!(picture.contains(id), "{picture}");
        }
        assert!(picture.contains("&lt;script&gt;&amp;") && !picture.contains("<script>"), "{picture}");
        assert!(super::picture(&[]).unwrap().contains("</svg>"));
    }

    /// A stream's id may hold them.
    #[test]
    fn characters_that_xml_has_not_are_spelled_out() {
        let node = Node { id: "n".to_owned(), label: "a\u{fffe}b\u{ffff}".to_owned(), ..Node::default() };
        let picture = picture(&[node]).unwrap();
        assert!(picture.contains("a\\u{fffe}b\\u{ffff}"), "{picture}");
    }
}
