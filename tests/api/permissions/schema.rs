//! The API as it describes itself, and selections of all that it offers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::app::TestApp;

const TYPE: &str = "type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";

/// What is not the affair of admins, from whom this matrix has the truth: conversations have stories of their own about who
/// reads them (`conversations::rights`). Types that are left out, with all fields that lead to them.
const APART: [&str; 8] = [
    "Conversation",
    "ConversationConnection",
    "Message",
    "MessagePayload",
    "MarkConversationReadPayload",
    "SignalTypingPayload",
    "MessageUpdatedEvent",
    "PresenceChangedEvent",
];

/// Rows of a list whose objects are shown by their ids.
const FEW: u32 = 5;
/// Rows of a list whose objects are shown in full.
const MANY: u32 = 10;

/// The types of the API by name.
pub struct Schema(BTreeMap<String, Type>);

struct Type {
    kind: String,
    fields: Vec<Field>,
    inputs: Vec<Field>,
    /// Of an interface or union.
    members: Vec<String>,
}

/// A field, or a field of an input.
pub struct Field {
    pub name: String,
    /// The name of its type, out of all lists.
    pub of: String,
    pub nullable: bool,
    pub list: bool,
    arguments: Vec<String>,
}

/// How much of an object is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Show<'a> {
    /// Its type and id.
    Name,
    /// Every field. Where any object may stand, of those of this type: fields of two types may clash.
    All(&'a str),
}

impl Schema {
    /// Asks the server.
    pub async fn read(app: &TestApp) -> Self {
        let query = format!(
            "{{ __schema {{ types {{ kind name possibleTypes {{ name }} inputFields {{ name {TYPE} }} \
             fields(includeDeprecated: true) {{ name args {{ name }} {TYPE} }} }} }} }}"
        );
        let reply = app.http.graphql(None, &query, json!({})).await;
        let types = reply.at("/data/__schema/types").as_array().expect("types");
        let types = types.iter().filter(|found| !name(found).starts_with("__"));
        Self(types.map(|found| (name(found), Type::read(found))).collect())
    }

    fn of(&self, name: &str) -> &Type {
        self.0.get(name).unwrap_or_else(|| panic!("the schema has no {name}"))
    }

    /// The fields of an object type.
    pub fn fields(&self, name: &str) -> &[Field] {
        &self.of(name).fields
    }

    /// The fields of an input type.
    pub fn inputs(&self, name: &str) -> &[Field] {
        &self.of(name).inputs
    }

    /// The types whose objects have a global id.
    pub fn nodes(&self) -> &[String] {
        &self.of("Node").members
    }

    /// Whether values of this type are objects with a global id.
    pub fn is_node(&self, name: &str) -> bool {
        name == "Node" || self.nodes().iter().any(|node| node == name)
    }

    /// Whether an object with a global id can be found in a value of this type.
    pub fn leads_to_nodes(&self, name: &str) -> bool {
        self.is_node(name) || self.reachable(name).iter().any(|name| self.is_node(name))
    }

    /// The types of objects in a value of this type, itself included. What is inside a node is another question.
    pub fn reachable(&self, name: &str) -> BTreeSet<String> {
        let (mut found, mut open) = (BTreeSet::new(), vec![name.to_owned()]);
        while let Some(name) = open.pop() {
            let of = self.of(&name);
            if matches!(of.kind.as_str(), "SCALAR" | "ENUM") || !found.insert(name.clone()) || self.is_node(&name) {
                continue;
            }
            open.extend(of.members.iter().cloned().chain(of.fields.iter().map(|field| field.of.clone())));
        }
        found
    }

    /// The types of objects that a query can lead to, over any number of nodes.
    pub fn types_of_reading(&self) -> BTreeSet<String> {
        self.nodes()
            .iter()
            .map(String::as_str)
            .chain(["Query"])
            .flat_map(|name| {
                let fields = self.fields(name).iter().flat_map(|field| self.reachable(&field.of));
                fields.chain([name.to_owned()]).collect::<Vec<_>>()
            })
            .filter(|name| name != "Node")
            .collect()
    }

    /// Every field whose value is a node or a list of them, of the types in `of`.
    pub fn steps_to_nodes(&self, of: &BTreeSet<String>) -> BTreeSet<(String, String)> {
        let of = of.iter().flat_map(|name| self.fields(name).iter().map(move |field| (name, field)));
        let steps = of.filter(|(_, field)| self.is_node(&field.of));
        steps.map(|(name, field)| (name.clone(), field.name.clone())).collect()
    }

    /// An operation with this body, and the fragments that it spreads.
    pub fn operation(&self, head: &str, body: &str) -> String {
        self.with_fragments(format!("{head} {{ __typename {body} }}"))
    }

    /// The same for a subscription, which has one root field and no more.
    pub fn subscription(&self, body: &str) -> String {
        self.with_fragments(format!("subscription {{ {body} }}"))
    }

    fn with_fragments(&self, body: String) -> String {
        let spread = self.nodes().iter().filter(|node| body.contains(&format!("...All{node} ")));
        let fragments = spread.map(|node| {
            let fields: String = self.fields(node).iter().map(|field| self.field(field, Show::Name)).collect();
            format!("fragment All{node} on {node} {{ __typename {fields} }}")
        });
        let fragments: Vec<_> = fragments.collect();
        [vec![body], fragments].concat().join(" ")
    }

    /// A field with all that it leads to.
    pub fn field(&self, field: &Field, show: Show) -> String {
        let rows = if show == Show::Name { FEW } else { MANY };
        let pages = field.takes("first");
        let arguments = if pages { format!("(first: {rows})") } else { String::new() };
        format!("{}{arguments}{} ", field.name, self.select(&field.of, show))
    }

    /// The selection of a value of this type: empty for a leaf.
    pub fn select(&self, name: &str, show: Show) -> String {
        let of = self.of(name);
        match (of.kind.as_str(), show) {
            ("SCALAR" | "ENUM", _) => String::new(),
            (_, Show::Name) if self.is_node(name) => " { __typename id }".into(),
            (_, Show::All(node)) if name == "Node" => format!(" {{ __typename id ...All{node} }}"),
            (_, Show::All(_)) if self.is_node(name) => format!(" {{ ...All{name} }}"),
            ("UNION", _) => {
                let members = of.members.iter().map(|name| format!("... on {name}{}", self.select(name, show)));
                format!(" {{ __typename {} }}", members.collect::<String>())
            }
            _ => {
                let fields = of.fields.iter().map(|field| self.field(field, show));
                format!(" {{ __typename {}}}", fields.collect::<String>())
            }
        }
    }
}

impl Type {
    fn read(found: &Value) -> Self {
        let list = |key: &str| found[key].as_array().cloned().unwrap_or_default();
        Self {
            kind: found["kind"].as_str().expect("a kind").into(),
            fields: list("fields").iter().map(Field::read).filter(|field| !is_apart(&field.of)).collect(),
            inputs: list("inputFields").iter().map(Field::read).collect(),
            members: list("possibleTypes").iter().map(name).filter(|name| !is_apart(name)).collect(),
        }
    }
}

impl Field {
    fn read(found: &Value) -> Self {
        let mut of = &found["type"];
        let nullable = of["kind"] != "NON_NULL";
        let mut list = false;
        while !of["ofType"].is_null() {
            list |= of["kind"] == "LIST";
            of = &of["ofType"];
        }
        let arguments = found["args"].as_array().into_iter().flatten().map(name).collect();
        Self { name: name(found), of: name(of), nullable, list, arguments }
    }

    /// Whether the field has this argument.
    pub fn takes(&self, argument: &str) -> bool {
        self.arguments.iter().any(|known| known == argument)
    }
}

fn is_apart(name: &str) -> bool {
    APART.contains(&name)
}

fn name(of: &Value) -> String {
    of["name"].as_str().expect("a name").into()
}
