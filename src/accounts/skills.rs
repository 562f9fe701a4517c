//! The vocabulary of skills: curated by admins, read by everybody, and what its words stand for once they were renamed,
//! merged or retired.
//!
//! A word that was *merged* into another one stands for that: what has it is read as having the other, and its slug still
//! means the other one wherever it is given. So a merge writes one row, however many jobs have the word; the events of
//! before keep the words that they had. A word that was *retired* stays on what has it, and can still be looked for.

use std::collections::{HashMap, HashSet};

use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, Func, Query},
};

use super::{
    entity::skills,
    error::AccountError,
    model::Skill,
    service::{Accounts, MAX_SKILLS},
};
use crate::{
    auth::actor::Actor,
    db::Backend,
    error::{InternalError, Invalid, InvalidKind},
    ids::SkillId,
    text,
};

/// The longest slug.
const MAX_SLUG: usize = 60;

/// `updateSkill`: what is left out stays.
#[derive(Clone, Debug, Default)]
pub struct SkillPatch {
    /// A new name.
    pub name: Option<String>,
    /// The id of the word that stands in its place from now on.
    pub merge_into: Option<String>,
    /// Whether it can be given anew.
    pub retired: Option<bool>,
}

/// What a list of slugs is for.
#[derive(Clone, Copy, Debug)]
pub enum SkillUse<'a> {
    /// For something that has these already: retired words are refused unless they are among them.
    Given(&'a [Skill]),
    /// To look for something.
    Sought,
}

/// How a vocabulary was taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Words that were not there.
    pub added: usize,
    /// Words that have another name now.
    pub renamed: usize,
    /// Words that were there as they are.
    pub kept: usize,
}

impl Accounts {
    /// The vocabulary without retired words, by name; `prefix` matches the beginning of the name or the slug, in any case.
    pub async fn skills(&self, prefix: Option<&str>, limit: u64) -> Result<Vec<Skill>, InternalError> {
        let in_use = skills::Entity::find().filter(skills::Column::RetiredAt.is_null());
        let rows = in_use.order_by_asc(skills::Column::Name).all(self.db.reader()).await?;
        // The vocabulary is curated and small; matching here treats every script alike on both databases.
        let prefix = prefix.unwrap_or_default().trim().to_lowercase();
        let starts =
            |skill: &skills::Model| skill.name.to_lowercase().starts_with(&prefix) || skill.slug.starts_with(&prefix);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(rows.into_iter().filter(starts).take(limit).map(Into::into).collect())
    }

    /// Many skills by id, retired or not.
    pub async fn skills_by_id(&self, ids: &[SkillId]) -> Result<HashMap<SkillId, Skill>, InternalError> {
        let rows = skills::Entity::find().filter(skills::Column::Id.is_in(ids.to_vec())).all(self.db.reader()).await?;
        Ok(rows.into_iter().map(|row| (row.id, row.into())).collect())
    }

    /// Admin: adds a word.
    #[tracing::instrument(skip_all)]
    pub async fn create_skill(&self, actor: Actor, slug: &str, name: &str) -> Result<Skill, AccountError> {
        let admin = actor.admin()?;
        let name = &text::SKILL_NAME.parse("name", name)?;
        if !is_slug(slug) {
            let rule = "must have 1 to 60 characters: lower-case letters a to z, digits, and hyphens between them";
            return Err(Invalid::value("slug", rule).into());
        }
        self.db
            .transact(|tx| async move {
                let id: SkillId = self.ids.next();
                let sql = "INSERT INTO skills (id, slug, name) VALUES (?, ?, ?) ON CONFLICT (slug) DO NOTHING";
                if tx.execute(sql, [id.into(), slug.into(), name.as_str().into()]).await? == 0 {
                    let rule = "must not be that of a skill that is there, retired ones included";
                    return Err(Invalid::value("slug", rule).into());
                }
                self.audit_in(&tx, admin, "createSkill", &id.to_string(), &format!("{slug}: {name}")).await?;
                Ok::<_, AccountError>(Skill { id, slug: slug.to_owned(), name: name.clone(), retired: false })
            })
            .await
    }

    /// Admin: renames a word, merges it into another one, retires it or takes it back.
    #[tracing::instrument(skip_all, fields(skill.id = id))]
    pub async fn update_skill(&self, actor: Actor, id: &str, patch: SkillPatch) -> Result<Skill, AccountError> {
        let admin = actor.admin()?;
        let missing = |field: &str| Invalid::not_found(field, "skill");
        let id: SkillId = id.parse().map_err(|_| missing("id"))?;
        let name = &patch.name.map(|name| text::SKILL_NAME.parse("name", &name)).transpose()?;
        let into =
            patch.merge_into.map(|into| into.parse::<SkillId>().map_err(|_| missing("mergeInto"))).transpose()?;
        if into == Some(id) {
            return Err(Invalid::value("mergeInto", "must be another skill").into());
        }
        if into.is_some() && patch.retired == Some(false) {
            return Err(Invalid::value("retired", "must not be false with mergeInto: a merged skill is retired").into());
        }
        self.db
            .transact(|tx| async move {
                let now = self.clock.now();
                // In the order of ids: two that are merged into each other at the same time are merged once.
                let both = skills::Entity::find()
                    .filter(skills::Column::Id.is_in([Some(id), into].into_iter().flatten()))
                    .order_by_asc(skills::Column::Id);
                let rows =
                    if tx.backend() == Backend::Postgres { both.lock_exclusive() } else { both }.all(&*tx).await?;
                let find = |id: SkillId| rows.iter().find(|row| row.id == id);
                let mut skill = find(id).cloned().ok_or_else(|| missing("id"))?;
                if let Some(name) = name {
                    skill.name.clone_from(name);
                    let sql = "UPDATE skills SET name = ? WHERE id = ?";
                    tx.execute(sql, [name.as_str().into(), id.into()]).await?;
                }
                if let Some(into) = into {
                    let target = find(into).ok_or_else(|| missing("mergeInto"))?;
                    if target.retired_at.is_some() {
                        return Err(Invalid::value("mergeInto", "must be a skill that is not retired").into());
                    }
                    if skill.merged_into.is_some() {
                        return Err(Invalid::value("id", "is of a skill that was merged before").into());
                    }
                    // With what was merged into it before: a word stands for another one at once.
                    let sql = "UPDATE skills SET merged_into = ?, retired_at = COALESCE(retired_at, ?) \
                               WHERE id = ? OR merged_into = ?";
                    tx.execute(sql, [into.into(), now.into(), id.into(), id.into()]).await?;
                    skill.retired_at = Some(now);
                }
                if let Some(retired) = patch.retired.filter(|_| into.is_none()) {
                    if !retired && skill.merged_into.is_some() {
                        let rule = "must stay true: the skill was merged into another one, which stands in its place";
                        return Err(Invalid::value("retired", rule).into());
                    }
                    skill.retired_at = retired.then_some(skill.retired_at.unwrap_or(now));
                    let sql = "UPDATE skills SET retired_at = ? WHERE id = ?";
                    tx.execute(sql, [skill.retired_at.into(), id.into()]).await?;
                }
                let merged = into.map(|into| format!(", merged into {into}")).unwrap_or_default();
                let retired = if skill.retired_at.is_some() { ", retired" } else { "" };
                let detail = format!("{}: {}{merged}{retired}", skill.slug, skill.name);
                self.audit_in(&tx, admin, "updateSkill", &id.to_string(), &detail).await?;
                Ok::<Skill, AccountError>(skill.into())
            })
            .await
    }

    /// Adds words to the vocabulary, slug and name each; one that is there by its slug gets the name. All or nothing.
    pub async fn import_skills(&self, words: &[(String, String)]) -> Result<Imported, InternalError> {
        self.db
            .transact(|tx| async move {
                let rows = skills::Entity::find().all(&*tx).await?;
                let known: HashMap<&str, &str> =
                    rows.iter().map(|row| (row.slug.as_str(), row.name.as_str())).collect();
                let mut imported = Imported::default();
                for (slug, name) in words {
                    match known.get(slug.as_str()) {
                        Some(known) if known == name => imported.kept += 1,
                        Some(_) => {
                            let sql = "UPDATE skills SET name = ? WHERE slug = ?";
                            tx.pipeline(sql, [name.as_str().into(), slug.as_str().into()]).await?;
                            imported.renamed += 1;
                        }
                        None => {
                            let id: SkillId = self.ids.next();
                            let sql = "INSERT INTO skills (id, slug, name) VALUES (?, ?, ?)";
                            tx.pipeline(sql, [id.into(), slug.as_str().into(), name.as_str().into()]).await?;
                            imported.added += 1;
                        }
                    }
                }
                Ok::<_, InternalError>(imported)
            })
            .await
    }

    /// The skills that `slugs` name, in their order and once each. An unknown one is refused by its place in `field`, and so
    /// is a retired one that cannot be given anew.
    pub async fn resolve_skills<C: ConnectionTrait>(
        &self,
        connection: &C,
        field: &str,
        slugs: &[String],
        purpose: SkillUse<'_>,
    ) -> Result<Vec<Skill>, AccountError> {
        let found = resolve(connection, field, slugs, purpose).await?;
        Ok(found.into_iter().map(|(skill, _)| skill).collect())
    }

    /// The ids of the skills that `slugs` look for: for each its own, and those of the words that were merged into it, which
    /// jobs and events of before have.
    pub async fn sought_skills(&self, field: &str, slugs: &[String]) -> Result<Vec<Vec<SkillId>>, AccountError> {
        let found = resolve(self.db.reader(), field, slugs, SkillUse::Sought).await?;
        Ok(found.into_iter().map(|(skill, merged)| std::iter::once(skill.id).chain(merged).collect()).collect())
    }

    /// The words that stand in the place of merged ones among `found`, each list once each.
    pub async fn with_merged<C: ConnectionTrait, K: Eq + std::hash::Hash>(
        &self,
        connection: &C,
        found: Vec<(K, skills::Model)>,
    ) -> Result<HashMap<K, Vec<Skill>>, InternalError> {
        let merged: HashSet<SkillId> = found.iter().filter_map(|(_, skill)| skill.merged_into).collect();
        let mut targets: HashMap<SkillId, skills::Model> = HashMap::new();
        if !merged.is_empty() {
            let rows = skills::Entity::find().filter(skills::Column::Id.is_in(merged)).all(connection).await?;
            targets.extend(rows.into_iter().map(|row| (row.id, row)));
        }
        let mut all: HashMap<K, Vec<Skill>> = HashMap::new();
        for (key, skill) in found {
            let skill: Skill = match skill.merged_into.and_then(|into| targets.get(&into)) {
                Some(target) => target.clone().into(),
                None => skill.into(),
            };
            let list = all.entry(key).or_default();
            if list.iter().all(|known| known.id != skill.id) {
                list.push(skill);
            }
        }
        Ok(all)
    }
}

/// What slugs name, in their order and once each, with what was merged into each.
async fn resolve<C: ConnectionTrait>(
    connection: &C,
    field: &str,
    slugs: &[String],
    purpose: SkillUse<'_>,
) -> Result<Vec<(Skill, Vec<SkillId>)>, AccountError> {
    if slugs.len() > MAX_SKILLS {
        return Err(Invalid::value(field, format_args!("must name at most {MAX_SKILLS} skills")).into());
    }
    if slugs.is_empty() {
        return Ok(Vec::new());
    }
    // What no slug can be is not asked for: PostgreSQL takes no NUL in a text.
    let asked: Vec<&str> = slugs.iter().map(String::as_str).filter(|slug| is_asked(slug)).collect();
    let named = skills::Column::Slug.is_in(asked.iter().copied());
    // What they stand for: themselves, or what they were merged into.
    let stands_for = Func::coalesce([Expr::col(skills::Column::MergedInto), Expr::col(skills::Column::Id)]);
    let meant = Query::select().expr(stands_for).from(skills::Entity).and_where(named.clone()).to_owned();
    let targets = skills::Column::Id.in_subquery(meant.clone());
    let merged = skills::Column::MergedInto.in_subquery(meant);
    let known = skills::Entity::find().filter(named.or(targets).or(merged)).all(connection).await?;
    let mut found: Vec<(Skill, Vec<SkillId>)> = Vec::with_capacity(slugs.len());
    for (place, slug) in slugs.iter().enumerate() {
        let refused = |why: &str| {
            let shown: String = slug.chars().filter(|letter| !letter.is_control()).take(40).collect();
            let message = format!("{shown:?} {why} Use a slug from the query `skills`.");
            Invalid::new(InvalidKind::Value, message, &format!("{field}.{place}"))
        };
        let word = known.iter().find(|skill| skill.slug == *slug).ok_or_else(|| refused("is not a known skill."))?;
        let skill = word.merged_into.and_then(|into| known.iter().find(|skill| skill.id == into)).unwrap_or(word);
        if let SkillUse::Given(kept) = purpose
            && skill.retired_at.is_some()
            && kept.iter().all(|kept| kept.id != skill.id)
        {
            return Err(refused("is retired and cannot be given anew.").into());
        }
        if found.iter().all(|(known, _)| known.id != skill.id) {
            let merged = known.iter().filter(|other| other.merged_into == Some(skill.id)).map(|other| other.id);
            found.push((skill.clone().into(), merged.collect()));
        }
    }
    Ok(found)
}

/// Reads a vocabulary: CSV (RFC 4180) of slug and name, or a name alone in each line, of which the slug is made. Empty lines
/// and the head `slug,name` are passed over. What is wrong is told with the number of its line.
pub fn parse_vocabulary(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut words: Vec<(String, String)> = Vec::new();
    let mut lines: HashMap<String, usize> = HashMap::new();
    let mut record = csv::StringRecord::new();
    for (line, text) in (1..).zip(text.lines()) {
        // A name is one line, so each line is a whole record.
        let mut reader = csv::ReaderBuilder::new();
        let mut reader = reader.has_headers(false).trim(csv::Trim::All).from_reader(text.as_bytes());
        if !reader.read_record(&mut record).map_err(|error| format!("line {line}: {error}"))? {
            continue;
        }
        let fields: Vec<&str> = record.iter().collect();
        let (slug, name) = match fields[..] {
            ["slug", "name"] if words.is_empty() => continue,
            [name] => (slug_of(name), name),
            [slug, name] => (slug.to_owned(), name),
            _ => return Err(format!("line {line}: {} fields; a line has a slug and a name, or a name", fields.len())),
        };
        let name = text::SKILL_NAME.parse("name", name).map_err(|invalid| format!("line {line}: {invalid}"))?;
        if !is_slug(&slug) {
            return Err(format!(
                "line {line}: {slug:?} is no slug; write the slug before the name: 1 to 60 of a to z, digits, and hyphens \
                 between them"
            ));
        }
        if let Some(first) = lines.insert(slug.clone(), line) {
            return Err(format!("line {line}: the slug {slug} stands in line {first} already"));
        }
        words.push((slug, name));
    }
    Ok(words)
}

/// A name in lower case, with hyphens for all that is no letter of ASCII or digit.
fn slug_of(name: &str) -> String {
    let words = name.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    if name.is_ascii() { words.collect::<Vec<_>>().join("-").to_lowercase() } else { String::new() }
}

/// Whether a slug of this form may be there.
fn is_asked(text: &str) -> bool {
    (1..=MAX_SLUG).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Whether a slug of this form may be made.
fn is_slug(text: &str) -> bool {
    is_asked(text) && !text.starts_with('-') && !text.ends_with('-') && !text.contains("--")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vocabulary_is_csv_or_lines() {
        let words = |text| parse_vocabulary(text).expect("a vocabulary");
        let owned = |words: &[(&str, &str)]| {
            words.iter().map(|(slug, name)| ((*slug).to_owned(), (*name).to_owned())).collect::<Vec<_>>()
        };
        let csv = "slug,name\nrust,Rust\n\ncpp,C++\r\n\"q-and-a\",\"Questions, answers\"\n";
        assert_eq!(words(csv), owned(&[("rust", "Rust"), ("cpp", "C++"), ("q-and-a", "Questions, answers")]));
        assert_eq!(
            words("Voice-over\n  UI design \n"),
            owned(&[("voice-over", "Voice-over"), ("ui-design", "UI design")])
        );
        assert_eq!(words(""), []);
        for (bad, line, what) in [
            ("rust,Rust\nRust,Rust", 2, "no slug"),
            ("rust,Rust\n\ngo,Go,1", 3, "3 fields"),
            ("rust,Rust\nrust,Rust again", 2, "line 1"),
            ("rust,", 1, "name"),
            ("Français", 1, "no slug"),
            ("a--b,Twice", 1, "no slug"),
        ] {
            let error = parse_vocabulary(bad).expect_err(bad);
            assert!(error.starts_with(&format!("line {line}: ")) && error.contains(what), "{bad:?}: {error}");
        }
    }
}
