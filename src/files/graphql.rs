//! Files in the API: `File`, and `createUpload`. Who may see a file that work was handed in with is decided by `claims`.
//!
//! Only translation between the schema and the domain: no rule, no SQL.

use std::{collections::HashMap, sync::Arc};

use async_graphql::{Context, Enum, ID, InputObject, Object, Result, SimpleObject, dataloader::Loader};
use uuid::Uuid;

use super::{
    FileError, Files,
    model::{self, File, NewFile},
    service::Target,
};
use crate::{
    error::InternalError,
    graphql::{
        context::{ContextExt, denied},
        errors::fault,
        scalars::{DateTime, Url},
        user_errors::InputError,
    },
    ids::FileId,
};

/// Upload and scan state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "model::FileStatus")]
pub(crate) enum FileStatus {
    /// Its bytes have not come yet. A day after it was reserved it is removed.
    Pending,
    /// Its bytes are there and were checked. A day later it is removed, unless something uses it.
    Ready,
    /// Its bytes were refused: they are not of the type that was promised, or hold what is not taken. Final.
    Rejected,
}

/// A file in the API. Its maker has checked that the viewer may see it.
#[derive(Clone, Debug)]
pub(crate) struct FileObject {
    file: Arc<File>,
    /// Whether the viewer may read its bytes.
    open: bool,
}

impl FileObject {
    /// A file that this viewer may see, and perhaps read.
    pub(crate) fn new(file: File, open: bool) -> Self {
        Self { file: Arc::new(file), open }
    }
}

/// An uploaded file. `downloadUrl` is signed, short-lived and served as an attachment.
#[Object(name = "File")]
impl FileObject {
    /// Opaque, globally unique and permanent: pass it to `node(id:)`, and never parse it.
    pub(crate) async fn id(&self) -> ID {
        self.file.id.to_string().into()
    }

    /// Without a folder, with the ending of its type. Plain text of a stranger: render it as untrusted.
    async fn name(&self) -> &str {
        &self.file.name
    }

    /// Its media type. The bytes were looked at, and are of it as far as one can tell.
    async fn content_type(&self) -> &str {
        &self.file.content_type
    }

    /// How many bytes it has.
    async fn byte_size(&self) -> i32 {
        i32::try_from(self.file.byte_size).unwrap_or(i32::MAX)
    }

    /// The SHA-256 of its bytes, as 64 lower-case hexadecimal digits.
    async fn sha256(&self) -> &str {
        &self.file.sha256
    }

    /// Where it is in its life.
    async fn status(&self) -> FileStatus {
        self.file.status.into()
    }

    /// A link to the bytes, good for five minutes at most, for anybody who has it: ask for it when it is needed, and do not keep
    /// it. Null until the file is READY, and for those who may see that there is a file and not what is in it.
    async fn download_url(&self, ctx: &Context<'_>) -> Option<Url> {
        if self.open { ctx.get::<Files>().download_link(&self.file).map(Url) } else { None }
    }
}

/// Batches look-ups of files.
pub(crate) struct FileLoader(pub(crate) Files);

impl Loader<FileId> for FileLoader {
    /// The file, and the deliverable that uses it.
    type Value = (File, Option<Uuid>);
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[FileId]) -> Result<HashMap<FileId, (File, Option<Uuid>)>, Arc<InternalError>> {
        self.0.by_id(keys).await.map_err(Arc::new)
    }
}

/// Asks for the files of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FilesOf(pub(crate) Uuid);

impl Loader<FilesOf> for FileLoader {
    type Value = Vec<File>;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[FilesOf]) -> Result<HashMap<FilesOf, Vec<File>>, Arc<InternalError>> {
        let users: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let files = self.0.of(&users).await.map_err(Arc::new)?;
        Ok(files.into_iter().map(|(by, files)| (FilesOf(by), files)).collect())
    }
}

/// Reserve a direct upload.
#[derive(InputObject)]
pub(crate) struct CreateUploadInput {
    /// 1 to 200 characters, without a folder, and with the ending of its type, such as `plan.pdf`.
    name: String,
    /// The media type of the bytes; `message` of a refusal lists those that are taken.
    content_type: String,
    /// How many bytes will come: 1 up to what the server takes, 104,857,600 unless it is set otherwise.
    byte_size: i32,
    /// The SHA-256 of the bytes, as 64 hexadecimal digits.
    sha256: String,
}

/// One header to send.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct UploadHeader {
    /// The header's name, such as `Content-Type`.
    name: String,
    /// The header's value, to be sent as it is.
    value: String,
}

/// PUT the bytes to `url` with `headers`, then pass `file.id` on.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct UploadTarget {
    /// Where to send the bytes, in the body of one PUT with their exact `Content-Length`. Good for anybody who has it.
    url: Url,
    /// What the request must have besides.
    headers: Vec<UploadHeader>,
    /// Until when the request may begin.
    expires_at: DateTime,
}

impl From<Target> for UploadTarget {
    fn from(target: Target) -> Self {
        let headers = vec![UploadHeader { name: "Content-Type".to_owned(), value: target.content_type }];
        Self { url: Url(target.url), headers, expires_at: target.expires_at.into() }
    }
}

/// Result of `createUpload`.
#[derive(SimpleObject)]
pub(crate) struct CreateUploadPayload {
    /// The file, which waits for its bytes; null if nothing was done.
    file: Option<FileObject>,
    /// Where to send the bytes; null if nothing was done.
    target: Option<UploadTarget>,
    /// Why nothing was done; empty after a success.
    errors: Vec<InputError>,
}

/// Writes of files.
#[derive(Default)]
pub(crate) struct FileMutation;

#[Object]
impl FileMutation {
    /// Any signed-in user. Emits nothing. Reserves a file: the answer to the PUT says whether the bytes were taken.
    async fn create_upload(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What the file is to be.")] input: CreateUploadInput,
    ) -> Result<Option<CreateUploadPayload>> {
        let CreateUploadInput { name, content_type, byte_size, sha256 } = input;
        let new = NewFile { name, content_type, byte_size, sha256 };
        let reserved = ctx.get::<Files>().create_upload(ctx.actor(), &new).await;
        Ok(Some(match reserved {
            Ok((file, target)) => CreateUploadPayload {
                file: Some(FileObject::new(file, true)),
                target: Some(target.into()),
                errors: Vec::new(),
            },
            Err(FileError::Denied(refused)) => return Err(denied(refused)),
            Err(FileError::Invalid(invalid)) => {
                CreateUploadPayload { file: None, target: None, errors: vec![invalid.into()] }
            }
            Err(FileError::InternalError(failed)) => return Err(fault(failed)),
        }))
    }
}
