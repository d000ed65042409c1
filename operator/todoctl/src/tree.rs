//! Trees drawn with lines.

/// A line of text and what hangs below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The text; it may have several lines.
    pub text: String,
    /// What hangs below.
    pub children: Vec<Node>,
}

impl Node {
    /// A node with nothing below it.
    pub fn leaf(text: impl Into<String>) -> Self {
        Self::with(text, Vec::new())
    }

    /// A node and what hangs below it.
    pub fn with(text: impl Into<String>, children: Vec<Node>) -> Self {
        Self {
            text: text.into(),
            children,
        }
    }

    /// The tree as lines, each ended by a line break.
    pub fn draw(&self) -> String {
        let mut drawing = String::new();
        for line in self.text.lines() {
            drawing.push_str(line);
            drawing.push('\n');
        }
        draw_below(&self.children, "", &mut drawing);
        drawing
    }
}

fn draw_below(children: &[Node], indent: &str, drawing: &mut String) {
    for (position, child) in children.iter().enumerate() {
        let is_last = position + 1 == children.len();
        let (branch, below) = if is_last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        for (number, line) in child.text.lines().enumerate() {
            drawing.push_str(indent);
            drawing.push_str(if number == 0 { branch } else { below });
            drawing.push_str(line);
            drawing.push('\n');
        }
        draw_below(&child.children, &format!("{indent}{below}"), drawing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_are_joined_and_long_texts_keep_their_place() {
        let tree = Node::with(
            "root",
            vec![
                Node::with(
                    "first",
                    vec![Node::leaf("below\nsecond line"), Node::leaf("last")],
                ),
                Node::with("second", vec![Node::leaf("leaf")]),
            ],
        );
        insta::assert_snapshot!(tree.draw(), @r"
        root
        ├─ first
        │  ├─ below
        │  │  second line
        │  └─ last
        └─ second
           └─ leaf
        ");
    }
}
