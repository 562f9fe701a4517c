//! The index: which documents there are, and how they get in and out.
//!
//! A document is what lists show of one job. Only what everybody may see is in the index; what may not any more is taken
//! out. Each segment is sorted by posting, newest first, so that the usual list is read from its beginning and no further
//! than it is asked for. No text is kept, only where its tokens stand.
//!
//! Invariants: a commit has either all of a batch or nothing, and with it the [`Mark`] of where in the event log it stands;
//! a document is there once. Called by `follower`, which writes, and by `find`, which reads.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tantivy::{
    Index, IndexBuilder, IndexReader, IndexSettings, IndexSortByField, IndexWriter, Order, ReloadPolicy,
    TantivyDocument, Term,
    indexer::IndexWriterOptions,
    schema::{BytesOptions, FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions},
    tokenizer::{Token as IndexToken, TokenStream, Tokenizer},
};
use uuid::Uuid;

use super::{analysis, folder::InMemory};
use crate::events::{self, Point};

/// Of the fields below. An index of another form is built anew.
const FORM: u32 = 2;
/// What the index calls the way in which texts become tokens.
const ANALYSIS: &str = "lancewire";
/// Bytes that are written to memory before they are written to a file.
const WRITER_BYTES: usize = 48 << 20;

/// What is found, and by what. Times are in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Names it.
    pub id: Uuid,
    /// Whose it is.
    pub owner: Uuid,
    /// Counts for more than the text.
    pub title: String,
    /// Everything else that is written.
    pub text: String,
    /// What it asks for.
    pub skills: Vec<Uuid>,
    /// A number for each status.
    pub status: u64,
    /// What it pays, in minor units.
    pub budget: i64,
    /// When it was first posted.
    pub posted: i64,
    /// Until when; those without a deadline count as the latest.
    pub deadline: i64,
}

/// Where in which log an index stands, as its commits say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Versions of the fields and of the tokens.
    pub form: (u32, u32),
    /// The log's identity.
    pub log: Uuid,
    /// The last event that was worked on.
    pub position: i64,
    /// What stands there.
    pub stands: u64,
}

impl Mark {
    pub(super) const fn at(log: Uuid, position: i64, stands: u64) -> Self {
        Self { form: (FORM, analysis::VERSION), log, position, stands }
    }

    /// The place in its log.
    pub(super) const fn point(&self) -> Point {
        Point { position: self.position, mark: events::Mark::from_bits(self.stands) }
    }

    /// Whether this version can read what was written with it.
    pub(super) const fn is_readable(&self) -> bool {
        self.form.0 == FORM && self.form.1 == analysis::VERSION
    }
}

/// The fields of a document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    pub id: Field,
    pub high: Field,
    pub low: Field,
    pub title: Field,
    pub text: Field,
    pub tags: Field,
    pub skills: Field,
    pub status: Field,
    pub budget: Field,
    pub posted: Field,
    pub deadline: Field,
}

impl Fields {
    fn schema() -> (Self, Schema) {
        let mut schema = Schema::builder();
        let words = TextFieldIndexing::default().set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let words = TextOptions::default().set_indexing_options(words.set_tokenizer(ANALYSIS));
        let found_by = || BytesOptions::default().set_indexed();
        let fields = Self {
            id: schema.add_bytes_field("id", found_by()),
            high: schema.add_u64_field("high", FAST),
            low: schema.add_u64_field("low", FAST),
            title: schema.add_text_field("title", words.clone()),
            text: schema.add_text_field("text", words),
            tags: schema.add_bytes_field("tags", found_by()),
            skills: schema.add_bytes_field("skills", BytesOptions::default().set_fast()),
            status: schema.add_u64_field("status", FAST | INDEXED),
            budget: schema.add_i64_field("budget", FAST),
            posted: schema.add_i64_field("posted", FAST),
            deadline: schema.add_i64_field("deadline", FAST),
        };
        (fields, schema.build())
    }
}

/// An index that is read.
#[derive(Clone)]
pub(super) struct Opened {
    pub reader: IndexReader,
    pub fields: Fields,
}

/// An index that is read and written. One thread at a time.
pub(super) struct Writing {
    pub opened: Opened,
    writer: IndexWriter,
}

impl Writing {
    /// Opens what is in a folder; nothing if there is none of this form, or if a byte of it is another one than was written.
    pub(super) fn open(path: &Path) -> tantivy::Result<Option<(Self, Mark)>> {
        let directory = InMemory::open(path)?;
        if !Index::exists(&directory)? {
            return Ok(None);
        }
        let index = Index::open(directory)?;
        let (fields, schema) = Fields::schema();
        let mark = index.load_metas()?.payload.and_then(|payload| serde_json::from_str::<Mark>(&payload).ok());
        let Some(mark) = mark.filter(|mark| mark.is_readable() && index.schema() == schema) else { return Ok(None) };
        if !index.validate_checksum()?.is_empty() {
            return Ok(None);
        }
        Ok(Some((Self::of(&index, fields)?, mark)))
    }

    /// Begins an empty one in an empty folder.
    pub(super) fn create(path: &Path) -> tantivy::Result<Self> {
        let (fields, schema) = Fields::schema();
        let newest_first = IndexSortByField { field: "posted".to_owned(), order: Order::Desc };
        let settings = IndexSettings {
            sort_by_field: Some(newest_first),
            docstore_compress_dedicated_thread: false,
            ..IndexSettings::default()
        };
        let index = IndexBuilder::new().schema(schema).settings(settings).open_or_create(InMemory::open(path)?)?;
        Self::of(&index, fields)
    }

    fn of(index: &Index, fields: Fields) -> tantivy::Result<Self> {
        // Before the writer is made, which asks for it once.
        index.tokenizers().register(ANALYSIS, Analysis);
        let options = IndexWriterOptions::builder()
            .memory_budget_per_thread(WRITER_BYTES)
            .num_worker_threads(1)
            .num_merge_threads(1)
            .build();
        let writer = index.writer_with_options(options)?;
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Self { opened: Opened { reader, fields }, writer })
    }

    /// Puts these documents in the place of what was there by the same names, and takes out those that are `gone`.
    pub(super) fn put(&mut self, documents: Vec<Document>, gone: &[Uuid]) -> tantivy::Result<()> {
        let id = self.opened.fields.id;
        for name in documents.iter().map(|document| document.id).chain(gone.iter().copied()) {
            self.writer.delete_term(Term::from_field_bytes(id, name.as_bytes()));
        }
        self.add(documents)
    }

    /// Adds documents that are not there.
    pub(super) fn add(&mut self, documents: Vec<Document>) -> tantivy::Result<()> {
        for document in documents {
            self.writer.add_document(self.opened.fields.document(&document))?;
        }
        Ok(())
    }

    /// Commits what was put, and shows it to those who look from now on.
    pub(super) fn commit(&mut self, mark: &Mark) -> tantivy::Result<()> {
        let payload =
            serde_json::to_string(mark).map_err(|error| tantivy::TantivyError::InternalError(error.to_string()))?;
        let mut commit = self.writer.prepare_commit()?;
        commit.set_payload(&payload);
        commit.commit()?;
        self.opened.reader.reload()
    }

    /// How many documents there are.
    pub(super) fn count(&self) -> u64 {
        self.opened.reader.searcher().num_docs()
    }
}

impl Fields {
    fn document(&self, document: &Document) -> TantivyDocument {
        let mut row = TantivyDocument::new();
        row.add_bytes(self.id, document.id.as_bytes());
        let (high, low) = document.id.as_u64_pair();
        row.add_u64(self.high, high);
        row.add_u64(self.low, low);
        row.add_text(self.title, &document.title);
        row.add_text(self.text, &document.text);
        row.add_bytes(self.tags, document.owner.as_bytes());
        for skill in &document.skills {
            row.add_bytes(self.tags, skill.as_bytes());
            row.add_bytes(self.skills, skill.as_bytes());
        }
        row.add_u64(self.status, document.status);
        row.add_i64(self.budget, document.budget);
        row.add_i64(self.posted, document.posted);
        row.add_i64(self.deadline, document.deadline);
        row
    }
}

/// Our tokens, made where the index takes a text: given as tokens they would be written and read as JSON on their way there,
/// which was a sixth of all that building an index costs.
#[derive(Clone)]
struct Analysis;

/// The tokens of one text in the order of their places.
struct InOrder {
    rest: std::vec::IntoIter<analysis::Token>,
    now: IndexToken,
}

impl Tokenizer for Analysis {
    type TokenStream<'a> = InOrder;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> InOrder {
        let mut tokens = analysis::tokens(text);
        tokens.sort_by_key(|token| token.place);
        InOrder { rest: tokens.into_iter(), now: IndexToken::default() }
    }
}

impl TokenStream for InOrder {
    fn advance(&mut self) -> bool {
        let Some(next) = self.rest.next() else { return false };
        self.now.position = usize::try_from(next.place).unwrap_or(usize::MAX);
        self.now.text = next.text;
        true
    }

    fn token(&self) -> &IndexToken {
        &self.now
    }

    fn token_mut(&mut self) -> &mut IndexToken {
        &mut self.now
    }
}
