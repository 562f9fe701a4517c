//! The schema keeps the contract: everything that was agreed on is there, in the words that were agreed on. More may
//! follow them.
//!
//! `tests/contract.graphql` is a floor, written by hand: what clients were promised. It grows by what is to be promised, and
//! not with each field. `schema.graphql` is printed from the code and is the file that grows. Both are read as syntax
//! trees, so that order and layout count for nothing; names, types, arguments, defaults and descriptions do.

use std::collections::BTreeMap;

use async_graphql::{
    Positioned,
    parser::{
        parse_schema,
        types::{ConstDirective, InputValueDefinition, TypeKind, TypeSystemDefinition},
    },
};

const CONTRACT: &str = include_str!("../contract.graphql");
const SCHEMA: &str = include_str!("../../schema.graphql");

/// All that a schema says, each thing under the name by which a person would look for it.
fn sayings(schema: &str) -> BTreeMap<String, (String, String)> {
    let mut all = BTreeMap::new();
    let mut say = |name: String, what: String, description: &Option<Positioned<String>>| {
        let description = description.as_ref().map(|text| text.node.trim().to_owned()).unwrap_or_default();
        let twice = all.insert(name.clone(), (what, description));
        assert_eq!(twice, None, "{name} is there twice");
    };
    for definition in parse_schema(schema).expect("a schema").definitions {
        let TypeSystemDefinition::Type(definition) = definition else { continue };
        let definition = definition.node;
        let (name, none) = (definition.name.node.to_string(), None);
        let directives = directives(&definition.directives);
        let mut field_names = Vec::new();
        let (kind, members) = match definition.kind {
            TypeKind::Scalar => ("scalar", Vec::new()),
            TypeKind::Object(object) => {
                field_names = object.fields;
                ("type", object.implements)
            }
            TypeKind::Interface(interface) => {
                field_names = interface.fields;
                ("interface", interface.implements)
            }
            TypeKind::Union(union) => ("union", union.members),
            TypeKind::Enum(definition) => {
                for value in definition.values {
                    let what = self::directives(&value.node.directives);
                    say(format!("{name}.{}", value.node.value.node), what, &value.node.description);
                }
                ("enum", Vec::new())
            }
            TypeKind::InputObject(input) => {
                for field in input.fields {
                    let what = input_value(&field.node);
                    say(format!("{name}.{}", field.node.name.node), what, &field.node.description);
                }
                ("input", Vec::new())
            }
        };
        for member in members {
            say(format!("{name} of {}", member.node), String::new(), &none);
        }
        for field in field_names {
            let field = field.node;
            let place = format!("{name}.{}", field.name.node);
            for argument in field.arguments {
                let argument = argument.node;
                say(format!("{place}({})", argument.name.node), input_value(&argument), &argument.description);
            }
            say(place, format!("{} {}", field.ty.node, self::directives(&field.directives)), &field.description);
        }
        say(name, format!("{kind} {directives}"), &definition.description);
    }
    all
}

fn input_value(value: &InputValueDefinition) -> String {
    let default = value.default_value.as_ref().map(|default| format!(" = {}", default.node)).unwrap_or_default();
    format!("{}{default} {}", value.ty.node, directives(&value.directives))
}

fn directives(directives: &[Positioned<ConstDirective>]) -> String {
    let mut texts: Vec<String> = directives
        .iter()
        .map(|directive| {
            let directive = &directive.node;
            let arguments = directive.arguments.iter().map(|(name, value)| format!("{}: {}", name.node, value.node));
            format!("@{}({})", directive.name.node, arguments.collect::<Vec<_>>().join(", "))
        })
        .collect();
    texts.sort();
    texts.join(" ")
}

#[test]
fn the_schema_holds_everything_that_was_agreed_on() {
    let (contract, schema) = (sayings(CONTRACT), sayings(SCHEMA));
    assert!(contract.len() > 500, "{} sayings are not all of the contract", contract.len());
    let broken: Vec<String> = contract
        .iter()
        .filter(|(name, (what, words))| {
            let holds = |(is, says): &(String, String)| is == what && says.starts_with(words.as_str());
            !schema.get(*name).is_some_and(holds)
        })
        .map(|(name, agreed)| format!("{name}\n  agreed: {agreed:?}\n  is:     {:?}", schema.get(name)))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_difference_is_seen() {
    let base =
        "type A implements N { \"why\" b(c: Int = 1): [Int!]! } interface N { x: ID } enum E { F } input I { j: Int }";
    for other in [
        base.replace("\"why\"", "\"because\""),
        base.replace("= 1", "= 2"),
        base.replace("[Int!]!", "[Int]!"),
        base.replace("c: Int", "d: Int"),
        base.replace("implements N ", ""),
        base.replace("{ F }", "{ G }"),
        base.replace("j: Int", "j: Int!"),
        base.replace("interface N", "\"new\" interface N"),
        base.replace("enum E", "enum E @old(since: 1)"),
    ] {
        assert_ne!(sayings(base), sayings(&other), "{other}");
    }
    assert_eq!(sayings(base), sayings(&base.replace(' ', "\n ")), "layout is no difference");
}
